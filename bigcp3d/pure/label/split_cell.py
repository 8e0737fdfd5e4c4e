"""Split one cell into parts: around given voxels, into a number of parts, or along parts that were found elsewhere.

A cell is cut where it is narrow: its parts grow from their seeds through the deepest voxels first (a watershed of the
distance to the cell's surface). All is computed from the cell's own voxels, so blocks do not matter.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bigcp3d.pure.boxes import Vec3, vec3
from bigcp3d.pure.compiled import compiled

ROUNDS = 100
"""Most rounds in which centres of parts move; ten are usual."""

LEAST = 0.1
"""The least share of a cell that counts as a part of it."""

Mask = NDArray[np.bool_]


def depth_inside(cell: Mask, spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> NDArray[np.float64]:
    """Distance of each voxel of a cell to the nearest voxel outside, where the array's border is outside."""
    depth: NDArray[np.float64] = ndimage.distance_transform_edt(np.pad(cell, 1), sampling=spacing)
    return depth[1:-1, 1:-1, 1:-1]


def deepest_voxel(cell: Mask) -> Vec3:
    """The voxel of a cell that lies deepest inside; the first in raster order if several do."""
    return vec3(np.unravel_index(int(depth_inside(cell).argmax()), cell.shape))


def split_at_seeds(cell: Mask, seeds: NDArray[np.int32], spacing: Sequence[float]) -> NDArray[np.int32]:
    """Parts of a cell, numbered as ``seeds`` are, whose voxels grow until they fill the cell.

    ``cell`` and ``seeds`` have shape (z, y, x); ``spacing`` is the size of a voxel. 0 outside the cell.
    """
    depth = np.pad(depth_inside(cell, spacing), 1)  # so that no neighbour lies outside the array
    parts = np.pad(np.where(cell, seeds, 0), 1).astype(np.int32)
    _flood(depth, parts)
    parts = parts[1:-1, 1:-1, 1:-1]
    if (left := cell & (parts == 0)).any():  # pieces without a seed that do not touch the others
        nearest = ndimage.distance_transform_edt(parts == 0, spacing, return_distances=False, return_indices=True)
        parts[left] = parts[tuple(nearest[:, left])]
    return parts


@compiled
def _flood(depth, parts):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Grow parts through voxels of ``depth`` above 0, the deepest first; of equal ones that reached first.

    Seeds come before all, wherever they lie.
    """
    heap = [(0.0, np.int64(0), np.int64(0), np.int64(0), np.int64(0))]
    heap.pop()
    turn = np.int64(0)
    for z in range(1, parts.shape[0] - 1):
        for y in range(1, parts.shape[1] - 1):
            for x in range(1, parts.shape[2] - 1):
                if parts[z, y, x] > 0:
                    heapq.heappush(heap, (-np.inf, turn, np.int64(z), np.int64(y), np.int64(x)))
                    turn += 1
    while len(heap) > 0:
        _, _, a, b, c = heapq.heappop(heap)
        for i in range(a - 1, a + 2):
            for j in range(b - 1, b + 2):
                for k in range(c - 1, c + 2):
                    if depth[i, j, k] > 0 and parts[i, j, k] == 0:
                        parts[i, j, k] = parts[a, b, c]
                        heapq.heappush(heap, (-depth[i, j, k], turn, np.int64(i), np.int64(j), np.int64(k)))
                        turn += 1


def split_into(cell: Mask, parts: int, spacing: Sequence[float]) -> NDArray[np.int32]:
    """A cell cut into a number of parts, 1 to ``parts``; fewer if it has fewer voxels.

    Centres start far from each other, and move to the mean of the voxels that are nearest to them until they rest.
    Then a part grows from the deepest voxel near each centre.
    """
    at = np.argwhere(cell)
    points = at * np.asarray(spacing, np.float64)
    parts = min(parts, len(points))
    depth = depth_inside(cell, spacing)[cell]
    farthest = np.linalg.norm(points - points.mean(axis=0), axis=1).argmax()  # an end of the cell, not its middle
    centres = points[[farthest]]
    while len(centres) < parts:
        away = np.linalg.norm(points[:, None] - centres[None], axis=2).min(axis=1)
        centres = np.concatenate([centres, points[[away.argmax()]]])
    for _ in range(ROUNDS):
        nearest = np.linalg.norm(points[:, None] - centres[None], axis=2).argmin(axis=1)
        moved = np.stack(
            [points[nearest == k].mean(axis=0) if (nearest == k).any() else centres[k] for k in range(parts)]
        )
        if np.array_equal(moved, centres):
            break
        centres = moved
    seeds = np.zeros(cell.shape, np.int32)
    for k in range(parts):
        at_k = np.flatnonzero(nearest == k)
        if len(at_k):
            near = np.linalg.norm(points[at_k] - centres[k], axis=1)
            best = at_k[np.lexsort((near, -depth[at_k]))[0]]
            seeds[tuple(at[best])] = k + 1
    return split_at_seeds(cell, seeds, spacing)


def split_along(cell: Mask, found: NDArray[np.integer], spacing: Sequence[float]) -> NDArray[np.int32]:
    """Parts of a cell along labels that were found in its place.

    Labels with less than the share `LEAST` of the cell do not count; their voxels go to the part that reaches them.
    """
    ids, row, counts = np.unique(found[cell], return_inverse=True, return_counts=True)
    large = (ids > 0) & (counts >= LEAST * cell.sum())
    numbers = np.where(large, np.cumsum(large), 0)
    seeds = np.zeros(cell.shape, np.int32)
    seeds[cell] = numbers[row]
    return split_at_seeds(cell, seeds, spacing) if large.any() else cell.astype(np.int32)
