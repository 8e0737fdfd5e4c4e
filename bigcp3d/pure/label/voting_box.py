"""Which working voxels vote on a box of the label image (`bigcp3d.pure.label.vote`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.grid import Factors, nearest_working

EDGE = 1e-6
"""Subtracted before rounding up: a factor such as 1 / 3, rounded, must not move a window by a voxel."""


def votes(factors: Factors) -> bool:
    """Whether an image voxel may hold several working voxels."""
    return min(factors) < 1 - EDGE


def window(start: int, stop: int, factor: float, size: int) -> NDArray[np.int64]:
    """First working voxel, the one after the last, and the nearest, of image voxels [start, stop); shape (3, n)."""
    near = nearest_working(start, stop, factor, size)
    if factor >= 1 - EDGE:
        return np.stack([near, near + 1, near])
    edges = np.ceil(np.arange(start, max(start, stop) + 1) / factor - 0.5 - EDGE).astype(np.int64).clip(0, size)
    return np.stack([np.minimum(edges[:-1], near), np.maximum(edges[1:], near + 1), near])


def voting_box(box: Box, factors: Factors, shape: Vec3) -> Box:
    """The box of the working grid (of ``shape``) that votes on an image box; empty for an empty box."""
    ends = []
    for a, b, factor, size in zip(box.start, box.stop, factors, shape, strict=True):
        first, last, _ = window(a, b, factor, size)
        ends.append((first.min(), last.max()) if len(first) else (0, 0))
    return Box(vec3(e[0] for e in ends), vec3(e[1] for e in ends))
