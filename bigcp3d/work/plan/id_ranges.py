"""Ranges of first voxels: objects in one range are filtered and numbered by one task.

An object is known by its *first voxel*, the lowest raster index (working grid) of its voxels. No two objects share one,
and no block decides it. Ids are dense in the order of first voxels, so each task takes a range of raster indices::

    raster index   |  range 0  |  range 1  |  range 2  |
    kept objects       3, 7        (none)      25, 26        ids 1, 2 and 3, 4: the counts of earlier ranges come first

A range is long enough for half a million cells of the expected diameter, so most runs have one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box, Vec3

CELLS = 2**19
"""Balls of the expected diameter that would fill a range."""

CELL_BYTES = 1024
"""Memory that the task of a range may take, for each of these. It suffices for twice as many objects."""


@dataclass(frozen=True)
class IdRanges:
    """``number`` ranges of ``size`` raster indices, from ``start``."""

    start: int
    size: int
    number: int

    @classmethod
    def of(cls, tracked: Box, shape: Vec3, diameter_vox: float) -> IdRanges:
        """Ranges for the voxels of a box of the volume."""
        plane = shape[1] * shape[2]
        start, length = tracked.start[0] * plane, max(1, tracked.shape[0] * plane)
        number = max(1, math.ceil(tracked.size / (CELLS * math.pi / 6 * diameter_vox**3)))
        return cls(start, -(-length // number), number)

    def bounds(self, number: int) -> tuple[int, int]:
        """The raster indices of a range: from the first, up to the second without it."""
        return self.start + number * self.size, self.start + (number + 1) * self.size

    def find(self, first: NDArray[np.int64]) -> NDArray[np.int64]:
        """The range of each first voxel, or ``number`` for an object without voxels."""
        return np.minimum((first - self.start) // self.size, self.number)

    def runs(self, first: NDArray[np.int64]) -> list[tuple[int, int]]:
        """The ranges of some first voxels as runs, first and last range of each: (3, 4) and (7, 7) for 3, 4 and 7."""
        parts = np.unique(self.find(first))
        runs = np.split(parts, np.flatnonzero(np.diff(parts) > 1) + 1)
        return [(int(run[0]), int(run[-1])) for run in runs if len(run)]
