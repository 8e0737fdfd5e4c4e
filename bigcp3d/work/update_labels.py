"""Replaces a region of labels in place, shard by shard, and makes the coarser levels again; copies a region.

Invariant: every write covers whole shards and may be repeated; at level 0 no voxel outside the wanted box changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.labels.labels import read_label_box, write_label_box
from bigcp3d.pure.boxes import BlockGrid, Box, vec3
from bigcp3d.pure.label.pooling import pool_labels
from bigcp3d.pure.label.pooling_box import pool_read_box
from bigcp3d.pure.replacement import Replacement, plan_replacement
from bigcp3d.pure.score.overlaps import Ids, Overlaps, add_overlaps, count_overlaps, known_ids


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
            old, new = known_ids(read_label_box(target, 0, box, time=time)), read_box(found, 0, box, time=time)
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
        merged = replacement.apply(known_ids(labels[inside]), read_box(found, 0, part, time=time))
        if not np.array_equal(merged, labels[inside]):
            labels[inside] = merged
            write_label_box(target, 0, core, labels, time=time)


def changed_boxes(target: LabelTarget, wanted: Box) -> tuple[Box, ...]:
    """By level, the box that changes with a box of level 0. On coarser levels it consists of whole shards."""
    boxes = [wanted]
    for level in range(1, len(target.levels)):
        grid, factors, below_shape = _grid(target, level), target.factors[level], target.levels[level - 1].shape
        reading = {index: pool_read_box(grid.core(index), factors, below_shape) for index in grid}
        touched = [grid.core(index) for index, below in reading.items() if not below.intersect(boxes[-1]).empty]
        low, high = np.min([box.start for box in touched], axis=0), np.max([box.stop for box in touched], axis=0)
        boxes.append(Box(vec3(low), vec3(high)))
    return tuple(boxes)


def renew_pyramid(target: LabelTarget, wanted: Box, *, time: int = 0) -> None:
    """Make the coarser levels again where they depend on a box of level 0."""
    for level, box in enumerate(changed_boxes(target, wanted)):
        grid, factors = _grid(target, level), target.factors[level]
        for index in grid.touching(box) if level else ():
            core = grid.core(index)
            below = pool_read_box(core, factors, target.levels[level - 1].shape)
            finer = read_label_box(target, level - 1, below, time=time)
            write_label_box(target, level, core, pool_labels(finer, below, core, factors), time=time)


def _parts(target: LabelTarget, boxes: Sequence[Box]) -> Iterator[tuple[int, Box, Box]]:
    """The pieces of a box at each level: the level, the whole piece, and the part of it that lies in the box."""
    for level, box in enumerate(boxes):
        grid = _grid(target, level)
        for index in grid.touching(box):
            yield level, grid.core(index), grid.core(index).intersect(box)


def copy_boxes(source: LabelTarget, to: LabelTarget, boxes: Sequence[Box], *, time: int = 0) -> None:
    """Copy a box at each level from labels to others of the same levels and shards; others of their voxels stay."""
    for level, core, part in _parts(to, boxes):
        labels = read_label_box(to, level, core, time=time)
        inside, copied = labels[part.slices(core.start)], read_label_box(source, level, part, time=time)
        if not np.array_equal(inside, copied):
            inside[...] = copied
            write_label_box(to, level, core, labels, time=time)


def hash_boxes(target: LabelTarget, boxes: Sequence[Box], times: Iterable[int]) -> str:
    """Sha256 of the ids in a box at each level."""
    digest = hashlib.sha256()
    for time in times:
        for level, _, part in _parts(target, boxes):
            digest.update(read_label_box(target, level, part, time=time).tobytes())
    return digest.hexdigest()
