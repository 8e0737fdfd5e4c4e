"""The picture: middle planes, one colour a cell, borders where they are."""

import numpy as np
import pytest

from bigcp3d.face.pictures.plane_drawing import find_contrast, plane_of
from bigcp3d.face.pictures.planes_picture import Plane, colour_labels, draw, outline
from bigcp3d.pure.boxes import Box


def test_a_plane_is_one_voxel_thick_and_spans_the_box():
    planes = [plane_of(Box((10, 0, 0), (15, 8, 11)), axis) for axis in range(3)]
    assert [box.shape for box in planes] == [(1, 8, 11), (5, 1, 11), (5, 8, 1)]
    assert [box.start[axis] for axis, box in enumerate(planes)] == [12, 4, 5]
    assert plane_of(Box((10, 0, 0), (15, 8, 11)), 0, 14) == Box((14, 0, 0), (15, 8, 11))


def test_contrast_is_that_of_all_finite_values_and_never_empty():
    parts = [np.arange(500.0), np.array([np.nan, np.inf]), np.arange(500.0, 1001.0)]
    assert find_contrast(parts) == pytest.approx((10, 998))
    few = np.zeros(10_000, np.uint16)
    few[:5] = 700
    assert find_contrast([few]) == (0, 700)  # both percentiles are 0
    assert find_contrast([np.full(9, 7)]) == (7, 8)
    assert find_contrast([np.full(9, np.nan)]) == find_contrast([]) == (0, 1)


def test_a_cell_has_one_colour_and_neighbouring_ids_have_others():
    colours = colour_labels(np.array([[0, 7], [7, 2**32 - 1]], np.uint32))
    assert colours[0, 0].tolist() == [0, 0, 0]
    assert colours[0, 1].tolist() == colours[1, 0].tolist() != colours[1, 1].tolist()
    many = colour_labels(np.arange(1, 60)).astype(int)
    assert np.abs(np.diff(many, axis=0)).sum(axis=1).min() > 60
    assert np.array_equal(many[9], colour_labels(np.array(10)))  # whatever else is in the plane


def test_outlines_lie_on_the_borders_and_nowhere_else():
    labels = np.zeros((9, 9), int)
    labels[2:7, 2:7] = 1
    yellow = (outline(np.full((9, 9), np.nan), labels) == (255, 220, 0)).all(axis=-1)
    expected = labels.astype(bool)
    expected[3:6, 3:6] = False
    assert np.array_equal(yellow, expected)


@pytest.mark.parametrize("with_truth", [True, False])
def test_the_picture_is_written(tmp_path, with_truth):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (8, 12))
    planes = [Plane("z = 0", 2.0, rng.random((8, 12)), labels, labels if with_truth else None)] * 3
    draw(planes, tmp_path / "p.png", "title")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
