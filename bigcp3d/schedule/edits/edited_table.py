"""Keeps the table of cells in the store in step with corrections of single cells.

A correction notes the rows of its cells in its own file (`bigcp3d.work.analyse.edited_rows`). The table itself is not
written again with each correction, since this takes a second for a few rows and many for a million. `current_table`
joins both when it is read, and `renew_table` writes that; neither reads a voxel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.cell_tables.label_table import (
    boxes_in_table,
    read_label_table,
    said_of_table,
    table_path,
    write_label_table,
)
from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.labels.edit_log import Change, EditLog, cell_box
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.stores.places import is_address
from bigcp3d.edge.stores.platforms import join_words
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.cells.cell_table import Columns
from bigcp3d.schedule.check_table import file_beside
from bigcp3d.work.analyse.edited_rows import RowStep, follow_changes, note_rows
from bigcp3d.work.analyse.measure import plan_measurement


def known_boxes(labels: ImageInfo, changes: EditLog, ids: Sequence[int], time: int) -> dict[int, Box]:
    """Boxes of some cells from the table in the store and from the log, as far as these know them."""
    boxes = {} if said_of_table(labels) is None else boxes_in_table(table_path(labels), ids, time)
    for change in changes.active():
        for cell in change.made:
            if change.time == time and cell["id"] in ids and cell["box"]:
                boxes[cell["id"]] = cell_box(cell)
    return boxes


def notes_for_table(
    labels: ImageInfo,
    image: str | Path | None,
    box: Box,
    before: NDArray[np.integer[Any]],
    after: NDArray[np.integer[Any]],
    changed: Sequence[int],
    time: int,
) -> dict[str, Any]:
    """The notes of a correction for the table in the store; nothing where there is no table."""
    said = said_of_table(labels)
    if said is None:
        return {}
    channels: tuple[str, ...] | None = None if said.get("image") else ()
    measured = said.get("image")
    if image is None and measured and (is_address(measured) or Path(measured).exists()):  # else the store was moved
        image = measured
    what = plan_measurement(labels.path, "", image=image, channel=channels)
    return note_rows(what, box, before, after, changed, time)


def changes_behind(labels: ImageInfo, changes: EditLog) -> int:
    """Lines of the log that the table in the store does not know yet; 0 without a table."""
    said = said_of_table(labels)
    return 0 if said is None else len(_later(said, changes.changes()))


def current_table(labels: ImageInfo, changes: EditLog) -> Columns:
    """The table in the store with the rows of all changes since; reads no voxel.

    `InputError` without a table, or where a change noted no rows, so that the labels must be measured again.
    """
    path = table_path(labels)
    said = said_of_table(labels)
    if said is None:
        found, more = (
            ("a table of other labels or of another program is", ["--overwrite"])
            if path.exists()
            else ("no table is", [])
        )
        command = join_words(["bigcp3d", "measure", labels.path, *more])
        raise InputError(f"{path}: {found} there; make one: {command}")
    columns, _ = read_label_table(path)
    kinds = {line.number: line.kind for line in changes.changes()}
    steps = [
        RowStep(changes.notes(line.of or line.number), backwards=line.of is not None)
        for line in _later(said, changes.changes())
        if line.of is None or kinds[line.of] != "decision"
    ]
    followed = follow_changes(columns, steps)
    if followed is None:
        raise InputError(
            f"{path}: this table is too old to be brought up to date (all labels were changed since, or there "
            f"was no table during a change); measure again: bigcp3d measure {labels.path} --overwrite"
        )
    return followed


def renew_table(labels: ImageInfo, changes: EditLog) -> Columns:
    """Write the table in the store as it is now (`current_table`)."""
    columns, said = current_table(labels, changes), said_of_table(labels) or {}
    write_label_table(labels, columns, {**said, "changes": len(changes.changes())})
    return columns


def file_without_changes(target: LabelTarget) -> Path | None:
    """The table beside the store (`file_beside`), if it is older than the last change."""
    log = EditLog(target.path).path
    if not isinstance(log, Path):
        return None
    file = file_beside(target)
    old = file.is_file() and log.is_file() and file.stat().st_mtime < log.stat().st_mtime
    return file if old else None


def _later(said: Mapping[str, Any], lines: Sequence[Change]) -> list[Change]:
    """The changes of cells that a table does not know."""
    no_cell = {line.number for line in lines if line.kind in ("decision", "ids")}
    return [line for line in lines[int(said.get("changes") or 0) :] if not no_cell & {line.number, line.of}]
