"""Changes finished labels in place so that each change can be taken back, whatever stops it.

The order of a change::

    keep the voxels       of all boxes that may change, at all levels
    begin                 from here on, a stopped change is seen
    level 0, then 1, ...  the coarser levels by the rule of the pyramid pass
    commit                the line in the log: from here on, the change counts
    end

`settle` puts right what was stopped: a change without its line is taken back, and an undo is finished. Both write the
kept voxels again, which may be repeated. Whoever calls these functions holds the lock of the labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bigcp3d.edge.labels.coarser_level import make_coarser
from bigcp3d.edge.labels.edit_log import Change, EditLog
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.labels.labels import read_label_box, write_label_part
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.label.pooling_box import pool_touched_box


def change_labels(
    target: LabelTarget,
    log: EditLog,
    change: Change,
    wanted: Box,
    times: Iterable[int],
    write: Callable[[], None],
    notes: Mapping[str, Any] | None = None,
    added: np.ndarray[Any, Any] | None = None,
    counted: Callable[[], None] = lambda: None,
) -> None:
    """Make a change: ``write`` writes level 0, inside the box ``wanted`` of the time points only.

    ``counted`` is called when the change counts, and before it ends.
    """
    times, boxes = list(times), changed_boxes(target, wanted)
    parts = [(time, level, part) for time in times for level, part in parts_of(target, boxes)]
    kept = ((time, level, part, read_label_box(target, level, part, time=time)) for time, level, part in parts)
    log.keep(change.number, kept, notes, added)
    log.begin(change)
    write()
    for time in times:
        renew_pyramid(target, boxes, time=time)
    log.commit(replace(change, after=hash_boxes(target, parts)))
    counted()
    log.end()


def take_back(target: LabelTarget, log: EditLog, undo: Change) -> None:
    """Make an undo: the voxels before the change ``undo.of`` come back at all levels.

    `InputError` where they cannot be read; then nothing is changed.
    """
    assert undo.of is not None
    log.boxes(undo.of)
    log.begin(undo)
    _finish_undo(target, log, undo)
    log.end()


def settle(target: LabelTarget, log: EditLog) -> Change | None:
    """Put right what was stopped; the change that was taken back, or the undo that was finished.

    None where there was none, or where it was stopped when it was complete, so that it stays.
    """
    stopped = log.pending()
    if stopped is None:
        log.drop(len(log.changes()) + 1)  # voxels kept for a change that was stopped before it began
        return None
    committed = log.counts(stopped)
    if not committed and stopped.of is not None:
        _finish_undo(target, log, stopped)
    elif not committed:
        _bring_back(target, log, stopped.number)
    log.end()
    if committed:
        return None
    if stopped.of is None:
        log.drop(stopped.number)
    return stopped


def changed_boxes(target: LabelTarget, wanted: Box) -> tuple[Box, ...]:
    """By level, the box that may change with a box of level 0; may be empty on coarser levels."""
    boxes = [wanted]
    for level in range(1, len(target.levels)):
        shape, below = target.levels[level].shape, target.levels[level - 1].shape
        boxes.append(pool_touched_box(boxes[-1], target.factors[level], shape, below))
    return tuple(boxes)


def renew_pyramid(target: LabelTarget, boxes: Sequence[Box], *, time: int = 0) -> None:
    """Make the coarser levels again in their boxes (`changed_boxes`)."""
    for level, part in parts_of(target, boxes):
        if level:
            write_changed(target, level, part, make_coarser(target, level, part, time=time), time=time)


def write_changed(target: LabelTarget, level: int, box: Box, labels: np.ndarray[Any, Any], *, time: int) -> None:
    """Write a box unless it holds these labels already."""
    if not np.array_equal(read_label_box(target, level, box, time=time), labels):
        write_label_part(target, level, box, labels, time=time)


def parts_of(target: LabelTarget, boxes: Sequence[Box]) -> Iterator[tuple[int, Box]]:
    """The parts of a box at each level that lie in one shard: the level, and the part."""
    for level, box in enumerate(boxes):
        grid = target.grid(level)
        for index in grid.touching(box):
            yield level, grid.core(index).intersect(box)


def hash_boxes(target: LabelTarget, boxes: Iterable[tuple[int, int, Box]]) -> str:
    """Sha256 of the ids in some boxes, given with their time points and levels."""
    digest = hashlib.sha256()
    for time, level, box in boxes:
        digest.update(read_label_box(target, level, box, time=time).tobytes())
    return digest.hexdigest()


def is_as_after(target: LabelTarget, log: EditLog, change: Change) -> bool:
    """Whether the voxels are still as a change left them."""
    return not change.after or change.after == hash_boxes(target, log.boxes(change.number))


def _finish_undo(target: LabelTarget, log: EditLog, undo: Change) -> None:
    """Write the voxels back and count the undo; may be repeated."""
    assert undo.of is not None
    _bring_back(target, log, undo.of)
    log.commit(undo)


def _bring_back(target: LabelTarget, log: EditLog, number: int) -> None:
    """Write the voxels before a change; may be repeated."""
    for time, level, box, labels in log.kept(number):
        write_changed(target, level, box, labels, time=time)
