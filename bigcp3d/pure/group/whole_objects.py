"""Objects that are known whole from one block and its neighbours, so that no task has to see all components.

A block sees the components on the faces of the 3 x 3 x 3 blocks around it, and joins them::

    +-----+-----+-----+      A spans two blocks on this axis, and reaches no outer face of the two: it is *whole*.
    |     |   A-|-A   |      B does so too, but reaches the right face of the right block. A component further right
    |     |     |     |      may belong to it, which not all its blocks would see. So B is not whole, nor is an object
    |     |   B-|-B---|      of three blocks.
    +-----+-----+-----+

Invariant: all blocks of an object decide the same. If it spans at most two blocks on each axis, each of its blocks sees
all of it. Else each of its blocks sees three blocks of it on some axis, or a part that reaches the outer face beyond
which it goes on.

An object that is smaller than a block is always whole. The others are few, and `bigcp3d.work.passes.join` sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import BlockGrid, Vec3
from bigcp3d.pure.group.cluster import Components
from bigcp3d.pure.group.seams import join_components, seam_pairs
from bigcp3d.pure.track.sinks import Sums


@dataclass(frozen=True, eq=False)
class Faces:
    """The components on the faces of one block: what its neighbours must know."""

    voxel: NDArray[np.int32]
    """Shape (f, 3): closed voxels on the block's border planes, in coordinates of the volume."""
    owner: NDArray[np.int32]
    """Shape (f,): the row of each in ``component`` and ``sums``."""
    component: NDArray[np.int32]
    """Shape (n,): number of each component in the block, from 0, ascending."""
    sums: Sums

    @classmethod
    def of(cls, components: Components) -> Faces:
        """Those of a block."""
        present, owner = np.unique(components.face_component.astype(np.int64) - 1, return_inverse=True)
        sums = components.sums.take(present)
        return cls(components.face_voxel, owner.astype(np.int32), present.astype(np.int32), sums)

    @classmethod
    def all(cls, components: Components) -> Faces:
        """All components of a block, also those that are not on its faces."""
        rows = np.arange(len(components), dtype=np.int32)
        return cls(components.face_voxel, components.face_component - np.int32(1), rows, components.sums)

    def take(self, rows: NDArray[np.int64]) -> Faces:
        """Some components and their voxels; ``rows`` ascend."""
        at = np.searchsorted(rows, self.owner)
        kept = np.flatnonzero(np.isin(self.owner, rows))
        return Faces(self.voxel[kept], at[kept].astype(np.int32), self.component[rows], self.sums.take(rows))

    def arrays(self) -> dict[str, NDArray[np.int64] | NDArray[np.int32]]:
        """The columns by name, as they are stored."""
        return {"voxel": self.voxel, "owner": self.owner, "component": self.component} | self.sums.arrays()

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.int64]]) -> Faces:
        """Columns as `arrays` gave them."""
        own = {name: arrays[name].astype(np.int32, copy=False) for name in ("voxel", "owner", "component")}
        return cls(**own, sums=Sums.from_arrays(arrays))


@dataclass(frozen=True, eq=False)
class NearObjects:
    """The objects to which the n face components of one block belong, as far as its neighbours show them."""

    object: NDArray[np.int64]
    """Shape (n,): row of ``sums``."""
    sums: Sums
    """Of m objects; complete where they are whole."""
    whole: NDArray[np.bool_]
    """Shape (m,)."""
    first_here: NDArray[np.bool_]
    """Shape (m,): whether this block is the first of the object's blocks, which writes it down."""


def join_near(block: Vec3, near: Sequence[tuple[Vec3, Faces]], grid: BlockGrid) -> NearObjects:
    """Join the face components of a block with those of its neighbours.

    ``near`` are the blocks of ``grid`` that touch ``block``, itself among them, with their faces.
    """
    counts = np.array([len(faces.component) for _, faces in near])
    bases = np.cumsum(counts) - counts
    index = np.repeat(np.array([index for index, _ in near]), counts, axis=0)  # the block of each component
    voxel = np.concatenate([faces.voxel for _, faces in near]).astype(np.int64)
    owner = np.concatenate([faces.owner + base for (_, faces), base in zip(near, bases, strict=True)]).astype(np.int64)
    objects, _ = join_components(seam_pairs(voxel, owner, grid.shape), len(index))
    own = next(i for i, (other, _) in enumerate(near) if other == block)
    mine, renumbered = np.unique(objects[bases[own] : bases[own] + counts[own]], return_inverse=True)
    part = np.isin(objects, mine)  # components of objects that this block has a part of
    group, index = np.searchsorted(mine, objects[part]), index[part]
    low, high = np.full((len(mine), 3), np.iinfo(np.int64).max), np.full((len(mine), 3), -1)
    np.minimum.at(low, group, index)
    np.maximum.at(high, group, index)
    sums = Sums.concatenate([faces.sums for _, faces in near]).take(part).group(group, len(mine))
    flat = np.ravel_multi_index(tuple(index.T), grid.counts)
    first = np.full(len(mine), np.iinfo(np.int64).max)
    np.minimum.at(first, group, flat)
    reaches = _reach_out(voxel, objects[owner], mine, low, high, grid)
    here = first == np.ravel_multi_index(block, grid.counts)
    return NearObjects(renumbered, sums, ~reaches, here)


def _reach_out(
    voxel: NDArray[np.int64],
    objects: NDArray[np.int64],
    mine: NDArray[np.int64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    grid: BlockGrid,
) -> NDArray[np.bool_]:
    """Which of the objects ``mine`` span three blocks, or two and reach an outer face of them inside the volume."""
    out: NDArray[np.bool_] = np.any(high - low > 1, axis=1)
    at = np.minimum(np.searchsorted(mine, objects), max(len(mine) - 1, 0))
    known = np.flatnonzero(mine[at] == objects) if len(mine) else np.empty(0, np.int64)
    at, voxel = at[known], voxel[known]
    for axis, (side, size) in enumerate(zip(grid.block, grid.shape, strict=True)):
        two = (high[:, axis] > low[:, axis])[at]
        place = voxel[:, axis]
        begins = (place == low[at, axis] * side) & (place > 0)
        ends = (place == (high[at, axis] + 1) * side - 1) & (place < size - 1)
        out[at[two & (begins | ends)]] = True
    return out
