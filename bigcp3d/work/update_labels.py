"""Replaces a region of labels in place at level 0, shard by shard; no voxel outside of it changes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.labels.edit_log import Change
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.labels.labels import read_label_box, write_label_box
from bigcp3d.edge.labels.labels_to_update import largest_noted
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.replacement import Replacement, plan_replacement
from bigcp3d.pure.score.overlaps import Ids, Overlaps, add_overlaps, count_overlaps, known_ids

log = logging.getLogger(__name__)


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
        grid = target.grid(0)
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


def largest_used(target: LabelTarget, changes: Sequence[Change], *, read: bool = False) -> int:
    """The largest id that any cell ever had.

    All labels are read if neither they nor their log of changes state it, or always with ``read``.
    """
    noted = largest_noted(target)
    if not read and noted is None and not any(change.kind in ("ids", "update") for change in changes):
        log.warning("%s: all labels are read once, because they do not say which ids are in use", target.path)
        read = True
    return max([find_largest_id(target) if read else 0, noted or 0, *(change.largest_id for change in changes)])


def find_largest_id(target: LabelTarget) -> int:
    """The largest id of all time points; reads all of level 0."""
    grid, most = target.grid(0), 0
    for time in range(target.times or 1):
        for index in grid:
            most = max(most, int(read_label_box(target, 0, grid.core(index), time=time).max()))
    return most


def replace_region(
    target: LabelTarget, found: ImageInfo, wanted: Box, replacement: Replacement, *, time: int = 0
) -> None:
    """Write the new labels into the region at level 0; a second time changes nothing."""
    grid = target.grid(0)
    for index in grid.touching(wanted):
        core = grid.core(index)
        part = core.intersect(wanted)
        labels = read_label_box(target, 0, core, time=time)
        inside = part.slices(core.start)
        merged = replacement.apply(known_ids(labels[inside]), read_box(found, 0, part, time=time))
        if not np.array_equal(merged, labels[inside]):
            labels[inside] = merged
            write_label_box(target, 0, core, labels, time=time)
