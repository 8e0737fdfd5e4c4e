"""Change the shapes of labelled cells for training: turn, stretch, bend, divide and partly empty a tissue.

A few labelled volumes hold few shapes, so a sample's geometry is drawn anew, image and labels together, before targets
are made of it. Changes of the labels alone (divisions, surfaces, lumens) come before an image is painted. All random
numbers come from the generator given.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Vec3, vec3
from bigcp3d.pure.compiled import compiled
from bigcp3d.pure.learn.targets import dense_labels, label_centroids
from bigcp3d.pure.tissue.position_hashes import join, noise_row

Float32 = NDArray[np.float32]
Labels = NDArray[np.int32]


class Warp(NamedTuple):
    """Where a target voxel is taken from: ``middle + matrix @ (voxel - middle of target) + displacement``.

    The displacement is smooth noise.
    """

    matrix: NDArray[np.float64]
    """Shape (3, 3)."""
    key: int
    """Key of the displacement's random numbers."""
    wavelength: float
    """Length of the displacement's waves, in voxels."""
    strength: float
    """Largest displacement on an axis, in voxels."""
    shape: Vec3
    """Voxels of the target."""

    @property
    def source_shape(self) -> Vec3:
        """Voxels that the source must have."""
        return vec3(math.ceil(n) + 3 for n in np.abs(self.matrix) @ self.shape + 2 * self.strength)


def draw_warp(rng: np.random.Generator, shape: Vec3, diameter_vox: float, *, free: bool) -> Warp:
    """Draw a turn about one axis, a stretch, and a bend a few cells long and up to a fifth of a cell deep.

    If ``free``, turn about any axis, exchange axes and stretch them by up to about two against each other. Otherwise
    turn about z alone and hardly stretch, as an image with its own blur along z requires.
    """
    axis = int(rng.integers(3)) if free else 0
    angle = rng.uniform(-math.pi / 4, math.pi / 4) if rng.random() < (0.7 if free else 0.5) else 0.0
    a, b = (k for k in range(3) if k != axis)
    turn = np.eye(3)
    turn[a, a] = turn[b, b] = math.cos(angle)
    turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
    stretch = rng.normal(0.0, 0.25 if free else 0.04, 3)
    stretch = np.exp(np.clip(stretch - stretch.mean(), -0.5, 0.5))
    order = rng.permutation(3) if free else np.arange(3)
    bend = float(rng.uniform(0, 0.2) * diameter_vox) if rng.random() < 0.5 else 0.0
    matrix = (turn @ np.diag(stretch))[order]
    return Warp(matrix, int(rng.integers(2**62)), float(rng.uniform(1.2, 3.0) * diameter_vox), bend, shape)


@compiled
def _warp(source, out, matrix, key, wavelength, strength, linear):  # type: ignore[no-untyped-def]
    """Fill ``out`` from ``source``, nearest voxel or linear; beyond its border the outermost voxels count."""
    shape, size = source.shape, out.shape
    nodes, rows = np.empty(np.int64(size[2] / wavelength) + 4), np.zeros((3, size[2]))
    q, low, part = np.empty(3), np.empty(3, np.int64), np.empty(3)
    for z in range(size[0]):
        for y in range(size[1]):
            if strength > 0:
                for a in range(3):
                    at_z, at_y = (z + 0.5) / wavelength, (y + 0.5) / wavelength
                    noise_row(join(key, a), at_z, at_y, np.int64(0), wavelength, nodes, rows[a])
            for x in range(size[2]):
                for a in range(3):
                    q[a] = (
                        0.5 * (shape[a] - 1)
                        + matrix[a, 0] * (z - 0.5 * (size[0] - 1))
                        + matrix[a, 1] * (y - 0.5 * (size[1] - 1))
                        + matrix[a, 2] * (x - 0.5 * (size[2] - 1))
                        + strength * rows[a, x]
                    )
                    q[a] = min(max(q[a], 0.0), shape[a] - 1.0)
                if not linear:
                    out[z, y, x] = source[np.int64(q[0] + 0.5), np.int64(q[1] + 0.5), np.int64(q[2] + 0.5)]
                    continue
                for a in range(3):
                    low[a] = min(np.int64(q[a]), max(shape[a] - 2, 0))
                    part[a] = q[a] - low[a]
                value = 0.0
                for i in range(2):
                    for j in range(2):
                        for k in range(2):
                            weight = (
                                (part[0] if i else 1 - part[0])
                                * (part[1] if j else 1 - part[1])
                                * (part[2] if k else 1 - part[2])
                            )
                            if weight > 0:
                                value += weight * source[low[0] + i, low[1] + j, low[2] + k]
                out[z, y, x] = value


def warp_array(source: NDArray[np.generic], warp: Warp, *, linear: bool = False) -> NDArray[np.generic]:
    """Warp labels, or an image (then ``linear``), of shape ``warp.source_shape``, to ``warp.shape``."""
    out = np.empty(warp.shape, source.dtype)
    key = np.uint64(warp.key)
    _warp(np.ascontiguousarray(source), out, warp.matrix, key, warp.wavelength, warp.strength, linear)
    return out


@compiled
def smooth_noise(shape, key, wavelength):  # type: ignore[no-untyped-def]
    """Smooth noise in [-1, 1], float32 (z, y, x); ``wavelength`` in voxels per axis."""
    out = np.empty(shape, np.float32)
    nodes, row = np.empty(np.int64(shape[2] / wavelength[2]) + 4), np.empty(shape[2])
    for z in range(shape[0]):
        for y in range(shape[1]):
            at_z, at_y = (z + 0.5) / wavelength[0], (y + 0.5) / wavelength[1]
            noise_row(key, at_z, at_y, np.int64(0), wavelength[2], nodes, row)
            out[z, y] = row
    return out


def draw_noise(rng: np.random.Generator, shape: Vec3, wavelength_vox: float) -> Float32:
    """Smooth noise in [-1, 1] of a random key."""
    key = rng.integers(2**63, dtype=np.uint64)
    return np.asarray(smooth_noise(shape, key, np.full(3, max(float(wavelength_vox), 1.0))), np.float32)


@compiled
def _divide(dense, centre, normal, offset, chosen, shift):  # type: ignore[no-untyped-def]
    """Rename the voxels of chosen cells that lie beyond a plane."""
    for z, y, x in np.ndindex(dense.shape):
        cell = dense[z, y, x]
        if cell > 0 and chosen[cell]:
            side = (
                (z - centre[cell, 0]) * normal[cell, 0]
                + (y - centre[cell, 1]) * normal[cell, 1]
                + (x - centre[cell, 2]) * normal[cell, 2]
            )
            if side > offset[cell]:
                dense[z, y, x] = cell + shift


def divide_cells(labels: Labels, rng: np.random.Generator, share: float, diameter_vox: float) -> Labels:
    """Divide a share of the cells by planes, so that small and flat cells lie beside whole ones.

    ``labels`` are int32 (z, y, x), the result too, renumbered. A cell is divided with probability ``share``; the planes
    lie up to an eighth of ``diameter_vox`` from its centre.
    """
    dense, ids = dense_labels(labels)
    dense = dense.astype(np.int32, copy=True)
    number = len(ids)
    centre = label_centroids(dense, number)
    normal = rng.standard_normal((number + 1, 3))
    if rng.random() < 0.5:  # all planes of a tissue alike: layers of flat cells
        normal = 0.2 * normal + rng.standard_normal(3)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    offset = rng.uniform(-0.125, 0.125, number + 1) * diameter_vox
    _divide(dense, centre, normal, offset, rng.random(number + 1) < share, number)
    return dense


def carve(labels: Labels, rng: np.random.Generator, diameter_vox: float) -> Labels:
    """Empty a part of the tissue (a lumen or the outside), cutting cells smoothly or removing whole ones.

    ``labels`` are int32 (z, y, x), the result too, with 0 in the empty parts, which are 1.5 to 5 cells large. Cut cells
    of which less than a third is left are removed.
    """
    field = draw_noise(rng, vec3(labels.shape), float(rng.uniform(1.5, 5.0) * diameter_vox))
    level = float(np.quantile(field[::4, ::4, ::4], rng.uniform(0.05, 0.45)))
    dense, ids = dense_labels(labels)
    before = np.bincount(dense.ravel(), minlength=len(ids) + 1)
    emptied = field < level
    if rng.random() < 0.4:
        lost = np.bincount(dense[emptied], minlength=len(ids) + 1) > 0.5 * before
        return np.where(lost[dense], np.int32(0), labels)
    kept = np.where(emptied, np.int32(0), dense)
    after = np.bincount(kept.ravel(), minlength=len(ids) + 1)
    gone = after < before / 3
    gone[0] = True
    return np.where(gone[kept], np.int32(0), labels)
