"""Blocks of whole patches: which block computes which patch, and what it passes to its neighbours.

A block of the maps is a whole number of patch cores, so every patch belongs to one block and is computed once. Patches
fill ``margin`` voxels beyond their cores. So a block's sums cover its *extent*, its core is complete only after
neighbours' patches are added near the faces, and its *inner* part is complete by itself::

      extent = core grown by the margin, clipped to the volume
      +-----------------------+
      |   +---------------+   |    margin outside the core: handed over to the neighbours
      |   |   +-------+   |   |    margin inside the core (the shell): waits for theirs
      |   |   | inner |   |   |    inner: final
      |   |   +-------+   |   |
      |   +--- core ------+   |
      +-----------------------+

Sums are integers (`bigcp3d.pure.predict.patches`), so the order of adding does not matter. Where an axis has several
patches, their cores are at least two margins wide, so an extent never reaches beyond the next block.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.predict.patches import PatchGrid


@dataclass(frozen=True)
class PatchBlocks:
    """Blocks of ``per_block`` patches (z, y, x) each."""

    patches: PatchGrid
    per_block: Vec3

    @classmethod
    def near(cls, patches: PatchGrid, block: Vec3) -> PatchBlocks:
        """Blocks of at least one patch, about as large as ``block``; on no axis more blocks than with ``block``."""
        numbers = zip(patches.cores.counts, BlockGrid(patches.shape, block).counts, strict=True)
        return cls(patches, vec3(-(-count // blocks) for count, blocks in numbers))

    @property
    def grid(self) -> BlockGrid:
        """The cores of the blocks, which tile the volume."""
        block = vec3(n * c for n, c in zip(self.per_block, self.patches.core, strict=True))
        return BlockGrid(self.patches.shape, block)

    @property
    def hand_over(self) -> bool:
        """Whether any block fills voxels of another one."""
        return len(self.grid) > 1 and self.patches.margin > 0

    def layers(self, index: Vec3, within: Box | None = None) -> list[list[Vec3]]:
        """The patches that a block computes, by layers along z; if a box is given, those that fill voxels of it."""
        core = self.grid.core(index)
        part = core if within is None else core.intersect(within.grow(self.patches.margin))
        patches = self.patches.cores.touching(part)
        return [list(layer) for _, layer in itertools.groupby(patches, key=lambda patch: patch[0])]

    def extent(self, index: Vec3) -> Box:
        """The voxels of the volume that a block's patches fill."""
        return self.grid.core(index).grow(self.patches.margin).clip(self.patches.shape)

    def inner(self, index: Vec3) -> Box:
        """The voxels of a block that no other block's patch fills; may be empty."""
        core, margin = self.grid.core(index), self.patches.margin
        box = Box(
            vec3(0 if a == 0 else a + margin for a in core.start),
            vec3(b if b == s else b - margin for b, s in zip(core.stop, self.patches.shape, strict=True)),
        )
        return Box(core.start, core.start) if box.empty else box

    def shell(self, index: Vec3) -> list[Box]:
        """The core without the inner part, as disjoint slabs below and above that on z, y and x."""
        rest, inner, slabs = self.grid.core(index), self.inner(index), []
        if inner.empty:
            return [rest]
        for axis in range(3):
            below = Box(rest.start, _with(rest.stop, axis, inner.start[axis]))
            above = Box(_with(rest.start, axis, inner.stop[axis]), rest.stop)
            slabs += [slab for slab in (below, above) if not slab.empty]
            rest = Box(_with(rest.start, axis, inner.start[axis]), _with(rest.stop, axis, inner.stop[axis]))
        return slabs

    def meeting(self, index: Vec3) -> list[Vec3]:
        """The blocks whose voxels a block fills, itself included, in raster order; these also fill its own."""
        return self.grid.touching(self.extent(index))

    def shared(self, giver: Vec3, taker: Vec3) -> Box:
        """The part of ``taker``'s core that ``giver`` fills."""
        return self.extent(giver).intersect(self.grid.core(taker))


def _with(corner: Vec3, axis: int, value: int) -> Vec3:
    return vec3(value if a == axis else v for a, v in enumerate(corner))
