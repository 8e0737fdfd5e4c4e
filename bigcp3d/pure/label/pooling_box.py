"""From which finer labels a box of a coarser level is made (`bigcp3d.pure.label.pooling`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.grid import Factors

EDGE = 1e-6
"""Added before flooring: a factor such as 25 / 12, rounded, must not move a window by a voxel."""


def pool_windows(start: int, stop: int, factor: float, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Windows of coarse voxels [start, stop) on a finer axis of ``size`` voxels; each has at least one voxel."""
    edges = np.floor(np.arange(start, stop + 1) * factor + EDGE).astype(np.int64)
    first = np.minimum(edges[:-1], size - 1)
    return first, np.minimum(np.maximum(first + 1, edges[1:]), size)


def pool_read_box(box: Box, factors: Factors, below_shape: Vec3) -> Box:
    """The box of the level below (of ``below_shape``) from which a box of the coarser level, not empty, is made."""
    windows = [pool_windows(a, b, f, s) for a, b, f, s in zip(box.start, box.stop, factors, below_shape, strict=True)]
    return Box(vec3(first[0] for first, _ in windows), vec3(stop[-1] for _, stop in windows))


def pool_touched_box(below: Box, factors: Factors, shape: Vec3, below_shape: Vec3) -> Box:
    """The box of the coarser level (of ``shape``) whose voxels depend on a box of the level below; may be empty."""
    ends = []
    for a, b, factor, size, finer in zip(below.start, below.stop, factors, shape, below_shape, strict=True):
        first, stop = pool_windows(0, size, factor, finer)
        ends.append((int(np.searchsorted(stop, a, side="right")), int(np.searchsorted(first, b, side="left"))))
    return Box(vec3(low for low, _ in ends), vec3(high for _, high in ends))
