"""Cuts a volume into pieces that are read once and written as whole shards, each of bounded size.

::

    z |  +-----------------------+      a piece spans x, a band of rows, and the depth of one shard;
      |  | band 0 | band 1 | ... |      bands are as many rows of shards as fit into the budget,
      |  +-----------------------+      and no thinner than the rows that the file decodes together
      +------------------------- y
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.labels.label_plan import chunk_and_shard
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3

BUDGET_BYTES = 2**27
"""Largest size of a piece."""

SIDE = 128
"""Wanted side of a shard in voxels, where the budget allows a cube."""


@dataclass(frozen=True)
class Piece:
    """A box of one level, time point and channel."""

    level: int
    time: int
    channel: int
    index: Vec3
    box: Box

    @property
    def name(self) -> str:
        """Folder of its record."""
        return f"level{self.level}-t{self.time}-c{self.channel}"


def choose_chunk_and_shard(shape: Vec3, itemsize: int, rows: int, budget: int) -> tuple[Vec3, Vec3]:
    """Chunk and shard of the image.

    Shards are thinner along z where a band of ``SIDE`` planes is beyond the budget. Then they are as much longer along
    x, which a piece spans anyway. So they do not become small and many.
    """
    depth = SIDE
    _, height, width = shape
    band = min(height, -(-rows // SIDE) * SIDE)
    while depth > 1 and min(depth, shape[0]) * band * width * itemsize > budget:
        depth //= 2
    return chunk_and_shard((depth, SIDE, SIDE * SIDE // depth), shape)


def choose_block(shape: Vec3, shard: Vec3, itemsize: int, rows: int, budget: int) -> Vec3:
    """The largest piece within the budget: whole shards, and at least ``rows`` rows."""
    depth, side = min(shard[0], shape[0]), shard[1]
    fitting = budget // (depth * shape[2] * itemsize * side)
    least = -(-rows // side)
    return shard[0], max(fitting, least, 1) * side, -(-shape[2] // shard[2]) * shard[2]


def list_pieces(image: ImageInfo, shard: Vec3, itemsize: int, rows: int, budget: int) -> Iterator[Piece]:
    """All pieces, the finest level first. Of a coarser level, what a piece is made from is within the budget."""
    for number, level in enumerate(image.levels):
        of_level = (rows, budget) if number == 0 else (1, budget // 8)
        grid = BlockGrid(level.shape, choose_block(level.shape, shard, itemsize, *of_level))
        for time in range(image.times):
            for channel in range(image.channels):
                for index in grid:
                    yield Piece(number, time, channel, index, grid.core(index))
