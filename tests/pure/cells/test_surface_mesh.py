"""Surfaces of cells as triangles."""

import numpy as np
import pytest

from bigcp3d.pure.cells.surface_mesh import mesh_surface


def volume(corners, triangles):
    """The volume inside closed triangles that all turn the same way."""
    a, b, c = (corners[triangles[:, k]].astype(float) for k in range(3))
    return abs(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def test_a_ball_has_its_volume_and_its_place():
    grid = np.stack(np.meshgrid(*[np.arange(24)] * 3, indexing="ij"), axis=-1)
    mask = ((grid - 11) ** 2).sum(axis=-1) <= 9**2
    corners, triangles = mesh_surface(mask, (100, 200, 300))
    assert np.allclose(corners.mean(axis=0), (111, 211, 311), atol=0.1)
    assert np.abs(np.linalg.norm(corners - (111, 211, 311), axis=1) - 9.2).max() < 0.6
    assert volume(corners - (111, 211, 311), triangles) == pytest.approx(mask.sum(), rel=0.05)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 7), (3, 1, 1)])
def test_a_thin_cell_keeps_a_surface_and_nothing_has_none(shape):
    corners, triangles = mesh_surface(np.ones(shape, bool))
    assert len(triangles)
    assert corners.min() >= -0.5
    assert (corners.max(axis=0) <= np.array(shape) - 0.5).all()
    assert not len(mesh_surface(np.zeros(shape, bool))[1])
