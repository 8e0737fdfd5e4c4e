"""Ranges of first voxels: objects in one range are filtered and numbered by one task.

An object is known by its *first voxel*, the lowest raster index (working grid) of its voxels. No two objects share one,
and no block decides it. Ids are dense in the order of first voxels. A range is a bar along x, of some planes and some
rows of each::

             y ->
    z    +---------+---------+     The cells of a bar in one plane follow each other in the order of ids, since they lie
    |    | range 0 | range 1 |     in successive rows. So the number of cells in each plane of each bar gives all ids.
    v    +---------+---------+
         | range 2 | range 3 |     A block meets few bars, and a bar few blocks: those of one or two rows of blocks. So
         +---------+---------+     the number of files that are opened grows as the volume does.

A range has room for half a million cells of the expected diameter, so most runs have one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3

CELLS = 2**19
"""Balls of the expected diameter that would fill a range."""

CELL_BYTES = 1024
"""Memory that the task of a range may take, for each of these. It suffices for twice as many objects."""


@dataclass(frozen=True)
class IdRanges:
    """The blocks of ``bars`` cut a box that begins at ``start`` into ranges; the volume has ``shape``."""

    bars: BlockGrid
    start: Vec3
    shape: Vec3

    @classmethod
    def of(cls, tracked: Box, shape: Vec3, diameter_vox: float) -> IdRanges:
        """Ranges for the voxels of a box of the volume."""
        nz, ny, nx = (max(1, side) for side in tracked.shape)
        lines = max(1.0, CELLS * math.pi / 6 * diameter_vox**3 / nx)  # along x, in a range
        rows = -(-ny // math.ceil(ny / max(math.sqrt(lines), lines / nz)))
        planes = -(-nz // math.ceil(nz / max(1, lines // rows)))
        return cls(BlockGrid((nz, ny, nx), (planes, rows, nx)), tracked.start, shape)

    @property
    def number(self) -> int:
        """How many ranges there are."""
        return len(self.bars)

    @property
    def layers(self) -> list[range]:
        """The ranges that share their planes."""
        depth, width, _ = self.bars.counts
        return [range(layer * width, (layer + 1) * width) for layer in range(depth)]

    def find(self, first: NDArray[np.int64]) -> NDArray[np.int64]:
        """The range of each first voxel, or ``number`` for an object without voxels."""
        row = first // self.shape[2] % self.shape[1] - self.start[1]
        depth, width, _ = self.bars.block
        part = self._plane(first) // depth * self.bars.counts[1] + row // width
        found: NDArray[np.int64] = np.minimum(part, self.number)
        return found

    def order(self, first: NDArray[np.int64]) -> NDArray[np.int64]:
        """The order of rows in files that have objects of several ranges: by range, then by first voxel."""
        return np.lexsort((first, self.find(first)))

    def plane(self, first: NDArray[np.int64]) -> NDArray[np.int64]:
        """The plane of each first voxel, from 0 in each range."""
        return self._plane(first) % self.bars.block[0]

    def _plane(self, first: NDArray[np.int64]) -> NDArray[np.int64]:
        return first // (self.shape[1] * self.shape[2]) - self.start[0]
