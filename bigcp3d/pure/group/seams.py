"""Stitching: components of different blocks that touch at a seam become one object.

Each block lists its closed voxels on its border planes. Two of them that are 26-neighbours join their components.
Sorted by raster index, "is this neighbour closed, and of which component?" is a binary search; scipy's connected
components over the pairs found give the objects.

Invariant: the objects are those of the 26-connected components of the whole closed mask, in any block grid.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bigcp3d.pure.boxes import Vec3

HALF_NEIGHBOURS = tuple(d for d in itertools.product((-1, 0, 1), repeat=3) if d > (0, 0, 0))
"""The 13 neighbours that come later in raster order."""


def _keys(voxel: NDArray[np.int64], shape: Vec3) -> NDArray[np.int64]:
    """Raster index in the volume with a margin of one voxel, so that no neighbour wraps into the next row."""
    keys: NDArray[np.int64] = (
        (voxel[:, 0] + 1) * (shape[1] + 2) * (shape[2] + 2) + (voxel[:, 1] + 1) * (shape[2] + 2) + voxel[:, 2] + 1
    )
    return keys


def seam_pairs(voxel: NDArray[np.int64], component: NDArray[np.int64], shape: Vec3) -> NDArray[np.int64]:
    """Find the pairs of components with 26-neighbouring face voxels: int64 (m, 2), each pair once.

    ``voxel`` (n, 3) are the closed voxels at the faces of all blocks, each once, in a volume of ``shape``.
    ``component`` (n,) is the component of each, numbered over all blocks, below 3 x 10^9.
    """
    keys = _keys(voxel, shape)
    order = np.argsort(keys)
    keys, component = keys[order], component[order]
    n, found = int(component.max(initial=0)) + 1, [np.empty(0, np.int64)]
    for dz, dy, dx in HALF_NEIGHBOURS:
        wanted = keys + (dz * (shape[1] + 2) + dy) * (shape[2] + 2) + dx
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        hit = np.flatnonzero((keys[at] == wanted) & (component[at] != component)) if len(keys) else at
        found.append(np.unique(component[hit] * n + component[at[hit]]))  # one number a pair sorts faster than two
    pairs = np.unique(np.concatenate(found))
    return np.stack([pairs // n, pairs % n], axis=1)


def join_components(pairs: NDArray[np.int64], n: int) -> tuple[NDArray[np.int64], int]:
    """Object (0..m-1) of each of ``n`` components, given the pairs that touch; and m."""
    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    m, objects = connected_components(graph, directed=False) if n else (0, np.empty(0, np.int64))
    return objects.astype(np.int64), int(m)
