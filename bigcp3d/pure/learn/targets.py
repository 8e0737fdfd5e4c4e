"""Flow targets: from labels, the flow that leads each voxel to its cell's centre.

The flow is defined here for the whole package: **it points to the cell's centre, in voxels per step, and the tracker
adds it**. (In the authors' code it points away and their tracker subtracts.) Axes are (z, y, x), background has flow 0,
and a label is one cell whether or not it is connected::

    > > v < <
    > > o < <      o: centre
    > > ^ < <

There are two forms. *tanh* (Eschweiler and Stegmaier 2021): per axis ``-tanh((p - c) / s)``, c the centroid. Their text
scales the tanh to each cell's size, their code uses s = 5 voxels for all cells and axes. We follow the code: with one s
the flow near a centre is the same in every cell. So the network need not see the whole cell, and a path's speed does
not depend on a size that has to be guessed. s is stored in the model's card; for the shipped models it is a fifth of
the diameter.

*heat* (Stringer et al. 2021): heat spreads inside each cell from its centre, and the flow is the direction in which it
rises. It follows bent cells and has unit length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.compiled import compiled

Labels = NDArray[np.integer]
Float = NDArray[np.float64]

MOST_WEIGHT = 8.0
"""Largest weight of a voxel in `size_weights`, so that cells of a few voxels do not dominate the loss."""


def dense_labels(labels: Labels) -> tuple[NDArray[np.int32], Labels]:
    """Labels renumbered 1..n in the order of their ids, and these ids; background stays 0."""
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low >= 0 and high <= 4 * labels.size:
        there = np.zeros(high + 1, np.bool_)
        _mark(labels.ravel(), there)
        there[0] = False
        table = np.cumsum(there, dtype=np.int32)
        table[0] = 0
        return table[labels], np.flatnonzero(there).astype(labels.dtype)
    ids = np.unique(labels)
    ids = ids[ids != 0]
    dense = np.searchsorted(ids, labels).astype(np.int32) + 1
    return np.where(labels == 0, np.int32(0), dense), ids


@compiled
def _mark(labels, there):  # type: ignore[no-untyped-def]
    """Set ``there`` at each label."""
    for i in range(labels.size):
        there[labels[i]] = True


def label_centroids(dense: NDArray[np.int32], number: int) -> Float:
    """Centroids in voxels, float64 (number + 1, 3), of labels 1..number; row 0 has no meaning."""
    sums = _sum_places(dense, number)
    middle: Float = sums[:, :3] / np.maximum(sums[:, 3:], 1)
    return middle


@compiled
def _sum_places(dense, number):  # type: ignore[no-untyped-def]
    """Sums of z, y, x and 1 over the voxels of each label, float64 (number + 1, 4)."""
    sums = np.zeros((number + 1, 4))
    for z, y, x in np.ndindex(dense.shape):
        row = sums[dense[z, y, x]]
        row[0] += z
        row[1] += y
        row[2] += x
        row[3] += 1
    return sums


def tanh_flow(labels: Labels, scale_vox: float, part: tuple[slice, slice, slice] | None = None) -> NDArray[np.float32]:
    """The tanh flow of labels (z, y, x), float32 (3, z, y, x): it points to the centroid, each component in [-1, 1].

    ``scale_vox`` is s in ``-tanh((p - c) / s)``. With ``part`` only that part of the result is computed; centroids are
    those of the whole array. Not exact under blocking: a centroid needs the whole cell.
    """
    dense, ids = dense_labels(labels)
    centre = label_centroids(dense, len(ids)).astype(np.float32)
    part = part or (slice(None), slice(None), slice(None))
    inner = dense[part]
    flow = np.zeros((3, *inner.shape), np.float32)
    for axis, length in enumerate(labels.shape):
        along = np.arange(length, dtype=np.float32)[part[axis]].reshape([-1 if a == axis else 1 for a in range(3)])
        flow[axis] = np.tanh((centre[:, axis][inner] - along) / np.float32(scale_vox))
    flow[:, inner == 0] = 0
    return flow


def heat_flow(labels: Labels) -> NDArray[np.float32]:
    """The heat flow of labels (z, y, x), float32 (3, z, y, x): the gradient of log(1 + heat), scaled to length 1.

    It is 0 where there is no gradient, as in pieces of a cell apart from its centre. Stringer et al. 2021: in each step
    the cell's voxel nearest to its centroid gets one unit of heat, then every voxel takes the mean of itself and its
    six neighbours; neighbours outside the cell have none. The number of steps is twice the sum of the sides of the
    largest bounding box. Memory: 60 bytes a foreground voxel.
    """
    dense, ids = dense_labels(labels)
    flow = np.zeros((3, *labels.shape), np.float32)
    if ids.size == 0:
        return flow
    voxels = np.flatnonzero(dense)
    cell, beside = dense.ravel()[voxels], _neighbours(dense, voxels)
    points = np.stack(np.unravel_index(voxels, dense.shape), axis=1)
    sources = _nearest_to(points, cell, label_centroids(dense, len(ids)))
    heat = _spread(beside, sources, 2 * _largest_extent(points, cell))
    rise = np.log1p(heat)
    gradient = np.stack([rise[beside[:, 2 * axis + 1]] - rise[beside[:, 2 * axis]] for axis in range(3)])
    length = np.sqrt(np.square(gradient).sum(axis=0))
    gradient /= np.where(length > 0, length, 1)
    flow.reshape(3, -1)[:, voxels] = gradient
    return flow


def size_weights(
    labels: Labels, diameter_vox: float, balance: float, part: tuple[slice, slice, slice] | None = None
) -> NDArray[np.float32]:
    """Weights of voxels in the loss, float32 (z, y, x): scores count cells, so voxels of small cells weigh more.

    Voxels of background, and of cells at least as large as the ball of ``diameter_vox``, weigh 1. A voxel of a cell of
    V voxels weighs ``(ball / V) ** balance``, at most `MOST_WEIGHT`: with 0 all voxels are equal, with 1 all cells are.
    With ``part`` only that part of the result is computed; sizes are those of the whole array.
    """
    part = part or (slice(None), slice(None), slice(None))
    if balance == 0:
        return np.ones(labels[part].shape, np.float32)
    dense, ids = dense_labels(labels)
    count = np.bincount(dense.ravel(), minlength=len(ids) + 1)
    weight = np.clip((np.pi / 6 * diameter_vox**3 / np.maximum(count, 1)) ** balance, 1, MOST_WEIGHT)
    weight[0] = 1
    return weight.astype(np.float32)[dense[part]]


def _neighbours(dense: NDArray[np.int32], voxels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices into ``voxels`` of the neighbours below and above on each axis, (n, 6); n outside the cell."""
    padded = np.pad(dense, 1)
    place = np.full(padded.shape, len(voxels), np.int64)
    inner = np.full(dense.size, len(voxels), np.int64)
    inner[voxels] = np.arange(len(voxels))
    place[1:-1, 1:-1, 1:-1] = inner.reshape(dense.shape)
    at = np.ravel_multi_index([i + 1 for i in np.unravel_index(voxels, dense.shape)], padded.shape)
    steps = [side * stride // padded.itemsize for stride in padded.strides for side in (-1, 1)]
    flat, places = padded.ravel(), place.ravel()
    columns = [np.where(flat[at + s] == flat[at], places[at + s], len(voxels)) for s in steps]
    return np.stack(columns, axis=1)


def _nearest_to(points: NDArray[np.int64], cell: NDArray[np.int32], centre: Float) -> NDArray[np.int64]:
    """For each cell the voxel nearest to its centroid; of equals the first in raster order."""
    distance = np.square(points - centre[cell]).sum(axis=1)
    order = np.lexsort((np.arange(len(cell)), distance, cell))
    return order[np.flatnonzero(np.diff(cell[order], prepend=0))]


def _largest_extent(points: NDArray[np.int64], cell: NDArray[np.int32]) -> int:
    """Largest sum of the three sides of a cell's bounding box, in voxels."""
    order = np.argsort(cell, kind="stable")
    first = np.flatnonzero(np.diff(cell[order], prepend=0))
    sides = np.maximum.reduceat(points[order], first) - np.minimum.reduceat(points[order], first) + 1
    return int(sides.sum(axis=1).max())


@compiled
def _spread(beside, sources, steps):  # type: ignore[no-untyped-def]
    """Heat of each voxel, float64 (n + 1,); the last is the outside."""
    number = beside.shape[0]
    heat, following = np.zeros(number + 1), np.zeros(number + 1)
    for _ in range(steps):
        for s in sources:
            heat[s] += 1.0
        for i in range(number):
            total = heat[i]
            for j in range(6):
                total += heat[beside[i, j]]
            following[i] = total / 7.0
        heat, following = following, heat
    return heat
