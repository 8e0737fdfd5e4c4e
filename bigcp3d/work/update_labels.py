"""Replaces a region of labels in place, shard by shard, and makes the coarser levels again.

Invariant: every write covers whole shards and may be repeated; at level 0 no voxel outside the wanted box changes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.labels.labels import read_label_box, write_label_box
from bigcp3d.pure.boxes import BlockGrid, Box, vec3
from bigcp3d.pure.label.pooling import pool_labels
from bigcp3d.pure.label.pooling_box import pool_read_box
from bigcp3d.pure.replacement import Replacement, plan_replacement
from bigcp3d.pure.score.overlaps import Ids, Overlaps, add_overlaps, count_overlaps


def _grid(target: LabelTarget, level: int) -> BlockGrid:
    """Pieces in which a level is written."""
    return BlockGrid(target.levels[level].shape, target.shard)


def compare_region(
    target: LabelTarget, found: ImageInfo, wanted: Box, around: Box, *, next_id: int, time: int = 0
) -> Replacement:
    """What the new labels ``found`` replace in those of ``target``.

    They are filled in ``around``, in which cells that the box ``wanted`` cuts are looked for. ``next_id`` is the
    smallest id that was never used.
    """
    outside: dict[str, set[int]] = {"old": set(), "new": set()}

    def ids(name: str) -> Ids:
        return np.array(sorted(outside[name] - {0}), np.uint64)

    def tables() -> Iterator[Overlaps]:
        grid = _grid(target, 0)
        for index in grid.touching(around):
            box = grid.core(index).intersect(around)
            old, new = read_label_box(target, 0, box, time=time), read_box(found, 0, box, time=time)
            part = box.intersect(wanted)
            inside = part.slices(box.start)
            if not part.empty:
                yield count_overlaps(new[inside], old[inside])
            for name, labels in (("old", old), ("new", new)):
                if not part.empty:
                    labels[inside] = 0
                outside[name].update(np.unique(labels).tolist())

    table = add_overlaps(tables())
    return plan_replacement(table, ids("old"), ids("new"), next_id)


def find_largest_id(target: LabelTarget) -> int:
    """The largest id of all time points; reads all of level 0."""
    grid, most = _grid(target, 0), 0
    for time in range(target.times or 1):
        for index in grid:
            most = max(most, int(read_label_box(target, 0, grid.core(index), time=time).max()))
    return most


def replace_region(
    target: LabelTarget, found: ImageInfo, wanted: Box, replacement: Replacement, *, time: int = 0
) -> None:
    """Write the new labels into the region at level 0; a second time changes nothing."""
    grid = _grid(target, 0)
    for index in grid.touching(wanted):
        core = grid.core(index)
        part = core.intersect(wanted)
        labels = read_label_box(target, 0, core, time=time)
        inside = part.slices(core.start)
        merged: NDArray[np.unsignedinteger] = replacement.apply(labels[inside], read_box(found, 0, part, time=time))
        if not np.array_equal(merged, labels[inside]):
            labels[inside] = merged
            write_label_box(target, 0, core, labels, time=time)


def renew_pyramid(target: LabelTarget, wanted: Box, *, time: int = 0) -> None:
    """Make the coarser levels again where they depend on a box of level 0."""
    changed = wanted
    for level in range(1, len(target.levels)):
        grid, factors, below_shape = _grid(target, level), target.factors[level], target.levels[level - 1].shape
        touched = []
        for index in grid:
            core = grid.core(index)
            below = pool_read_box(core, factors, below_shape)
            if not below.intersect(changed).empty:
                finer = read_label_box(target, level - 1, below, time=time)
                write_label_box(target, level, core, pool_labels(finer, below, core, factors), time=time)
                touched.append(core)
        low, high = np.min([box.start for box in touched], axis=0), np.max([box.stop for box in touched], axis=0)
        changed = Box(vec3(low), vec3(high))
