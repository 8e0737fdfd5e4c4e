"""Makes one correction of labels: what the methods of `bigcp3d.schedule.edits.edit.Edits` have in common.

A correction works out all voxels, ids and rows of the table in memory, and only then changes anything
(`bigcp3d.work.change_labels`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo, open_labels
from bigcp3d.edge.image.level_geometry import with_told_scale
from bigcp3d.edge.labels.default_name import DEFAULT_NAME
from bigcp3d.edge.labels.edit_log import Change, EditLog, who_and_when
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.labels.labels import read_label_box
from bigcp3d.edge.labels.labels_to_update import refuse_ids_above, target_of
from bigcp3d.edge.stores.places import place
from bigcp3d.errors import InputError, LossError, TargetError
from bigcp3d.pure.boxes import Box, vec3
from bigcp3d.pure.label.split_cell import deepest_voxel
from bigcp3d.pure.plural import describe_indices
from bigcp3d.schedule.edits.edited_table import known_boxes, notes_for_table
from bigcp3d.schedule.running.lock import find_locks, hold_locks
from bigcp3d.work.change_labels import change_labels, is_as_after, parts_of, settle, take_back, write_changed
from bigcp3d.work.find_cells import box_of, boxes_of, union
from bigcp3d.work.run.work_dir import default_work_dir
from bigcp3d.work.update_labels import largest_used

log = logging.getLogger(__name__)

LARGEST_BOX = 2**28
"""Most voxels of the box around the cells of one correction; it is held in memory, with about 30 bytes a voxel."""

Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class _Around:
    """The labels around some cells: those of ``box`` and one voxel around it (0 beyond the volume)."""

    box: Box
    labels: Labels

    @property
    def inner(self) -> Labels:
        """The labels of the box."""
        return self.labels[1:-1, 1:-1, 1:-1]

    def with_inner(self, inner: Labels) -> Labels:
        """The labels with others in the box."""
        labels = self.labels.copy()
        labels[1:-1, 1:-1, 1:-1] = inner
        return labels


class Corrector:
    """Some labels, their log, and the steps that all corrections share."""

    def __init__(self, store: str | Path, name: str = DEFAULT_NAME, *, image: str | Path | None = None) -> None:
        self.labels: ImageInfo = with_told_scale(open_labels(store, name))
        self.target: LabelTarget = target_of(self.labels)
        self.image = image
        self.changes = EditLog(self.target.path)

    def volume(self, cell: int, *, time: int = 0, near: Box | None = None) -> int:
        """Voxels of a cell; ``near`` is a box that holds some of them, where it is known."""
        known = {} if near is None else {cell: near}
        box = boxes_of(self.target, [cell], known, time=time)[cell]
        return int(np.count_nonzero(read_label_box(self.target, 0, box, time=time) == cell))

    def settle(self) -> Change | None:
        """Put right a change that was stopped; None where there is none."""
        if self.changes.pending() is None:
            return None
        with self._held() as stopped:
            return stopped

    @contextmanager
    def _held(self) -> Iterator[Change | None]:
        """Hold the lock of the labels, and first put right what was stopped."""
        work = default_work_dir(self.target.group, self.target.name)
        with hold_locks(find_locks(work, self.target)) as held, self.changes.confirmed_by(held.confirm):
            stopped = settle(self.target, self.changes)
            if stopped is not None:
                what = "finished" if stopped.of is not None else "taken back"
                log.warning("%s: the %s that was stopped is %s", self.target.path, stopped.kind, what)
            yield stopped

    def boxes(self, ids: Sequence[int], time: int) -> dict[int, Box]:
        """The box of each cell at level 0; `InputError` for an id or a time point that is not there."""
        if bad := [cell for cell in ids if cell < 1]:
            raise InputError(f"cell {bad[0]} was given; use an id from 1")
        if not 0 <= time < self.labels.times:
            raise InputError(f"time point {time} was given; use {describe_indices(self.labels.times)}")
        return boxes_of(self.target, ids, known_boxes(self.labels, self.changes, ids, time), time=time)

    def _correct(
        self,
        kind: str,
        given: dict[str, Any],
        ids: Sequence[int],
        time: int,
        alter: Callable[[Labels, Box], Labels],
        *,
        stays: Sequence[int] = (),
        boxes: dict[int, Box] | None = None,
        added: NDArray[Any] | None = None,
    ) -> Change:
        """Make one change: ``alter`` gives the labels after it, from those before it and their box."""
        boxes = self.boxes(ids, time) if boxes is None else boxes
        around = self._read_around(union(list(boxes.values())), time)
        before = around.inner
        after = alter(before, around.box)
        differ = before != after
        wanted = box_of(differ, around.box.start)
        if wanted is None:
            raise InputError("nothing would change")
        cells = self._describe(ids, boxes, time)
        made = [int(cell) for cell in np.unique(after[differ]) if cell] + list(stays)
        kept = {int(cell) for cell in ids if (after == cell).any()} | {*made}
        found = [{"id": cell, "box": _ends(box_of(after == cell, around.box.start))} for cell in sorted(kept)]
        change = self._next(kind, given, cells, time, found)
        changed = sorted({*map(int, ids), *kept})
        notes = notes_for_table(
            self.labels, self.image, around.box, around.labels, around.with_inner(after), changed, time
        )

        def write() -> None:
            for _, part in parts_of(self.target, [wanted]):
                write_changed(self.target, 0, part, after[part.slices(around.box.start)], time=time)

        change_labels(self.target, self.changes, change, wanted, [time], write, notes, added)
        return change

    def _read_around(self, box: Box, time: int) -> _Around:
        shape = self.labels.levels[0].shape
        core = box.grow(1).clip(shape)
        if core.size > LARGEST_BOX:
            raise InputError(
                f"the cells lie in a box of {core.size:,} voxels, but at most {LARGEST_BOX:,} are allowed; change "
                "fewer cells at once, or cells nearer to each other"
            )
        around = core.grow(1)
        seen = around.clip(shape)
        labels = np.pad(read_label_box(self.target, 0, seen, time=time), around.margins(seen))
        return _Around(core, labels)

    def _describe(self, ids: Sequence[int], boxes: dict[int, Box], time: int) -> list[dict[str, Any]]:
        """What the log says of cells, so that they can be found again."""
        said = []
        for cell in ids:
            box = boxes[cell]
            mask = read_label_box(self.target, 0, box, time=time) == cell
            point = vec3(np.add(deepest_voxel(mask), box.start))
            said.append({"id": int(cell), "volume_vox": int(mask.sum()), "box": _ends(box), "point": list(point)})
        return said

    def _next(
        self,
        kind: str,
        given: dict[str, Any],
        cells: list[dict[str, Any]],
        time: int,
        made: list[dict[str, Any]] | None = None,
        of: int | None = None,
    ) -> Change:
        made, changes = made or [], self.changes.changes()
        used = [0, *(int(cell["id"]) for cell in (*cells, *made)), *(change.largest_id for change in changes[-1:])]
        who, when = who_and_when()
        return Change(len(changes) + 1, kind, who, when, time, given, cells, made, of, largest_id=max(used))

    def _largest(self) -> int:
        """The largest id that was ever used. The first line about it in the log is of the kind "ids"."""
        changes = self.changes.changes()
        largest = largest_used(self.target, changes)
        if not any(change.kind == "ids" for change in changes):
            self.changes.commit(replace(self._next("ids", {}, [], 0), largest_id=largest))
        return largest

    def _new_ids(self, count: int) -> list[int]:
        first = self._largest() + 1
        refuse_ids_above(self.target, first + count - 1)
        return list(range(first, first + count))

    def take_back(self, change: Change, *, yes: bool) -> None:
        """Take a change back, while the lock is held; a decision has no voxels."""
        undo = self._next("undo", {}, [], change.time, of=change.number)
        if not change.has_voxels:
            self.changes.commit(undo)
            return
        if not yes and not is_as_after(self.target, self.changes, change):
            raise LossError(
                f"{self.target.path}: another program has changed voxels of change {change.number} ({change.kind}) "
                "since. Nothing was taken back. With --yes they are taken back all the same, and what the other "
                "program wrote is lost"
            )
        take_back(self.target, self.changes, undo)


def _ends(box: Box | None) -> list[list[int]]:
    return [] if box is None else [list(box.start), list(box.stop)]


def settle_labels(store: str | Path, name: str) -> None:
    """Before labels are read: put right a change that was stopped. Says so where somebody is changing them just now.

    Labels that are not there, or lie on a web server, are left to whoever reads them.
    """
    try:
        labels = open_labels(store, name)
        pending = EditLog(place(labels.path)).pending()
    except InputError as error:
        log.debug("not settled: %s", error)
        return
    try:
        if pending is not None:
            Corrector(labels.path, "").settle()
    except (InputError, TargetError) as error:
        log.warning("%s: a change of these labels is not complete, so they may show a part of it: %s", store, error)
