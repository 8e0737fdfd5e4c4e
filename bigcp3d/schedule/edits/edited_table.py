"""Keeps the table of cells in the store in step with corrections of single cells.

A correction notes the rows of its cells in its own file (`bigcp3d.work.analyse.edited_rows`). A small table is written
again at once. A large one is not, since a million rows take seconds: `renew_table` does so when it is asked for, and
reads no voxel of the labels.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.cell_tables.label_table import (
    boxes_in_table,
    read_label_table,
    rows_of_table,
    said_of_table,
    table_path,
    write_label_table,
)
from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.labels.edit_log import EditLog
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, vec3
from bigcp3d.work.analyse.edited_rows import RowStep, follow_changes, note_rows
from bigcp3d.work.analyse.measure import plan_measurement

log = logging.getLogger(__name__)

SMALL = 20_000
"""Rows up to which a table is written again after each correction: about 0.1 s."""


def known_boxes(labels: ImageInfo, changes: EditLog, ids: Sequence[int], time: int) -> dict[int, Box]:
    """Boxes of some cells from the table in the store and from the log, as far as these know them."""
    path = table_path(labels)
    boxes = {} if said_of_table(path) is None else boxes_in_table(path, ids, time)
    for change in changes.active():
        for cell in change.made:
            if change.time == time and cell["id"] in ids and cell["box"]:
                boxes[cell["id"]] = Box(vec3(cell["box"][0]), vec3(cell["box"][1]))
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
    said = said_of_table(table_path(labels))
    if said is None:
        return {}
    channels: tuple[str, ...] | None = None if said.get("image") else ()
    what = plan_measurement(labels.path, "", image=image or said.get("image"), channel=channels)
    return note_rows(what, box, before, after, changed, time)


def renew_small_table(labels: ImageInfo, changes: EditLog) -> None:
    """Write a small table again; say so where a table stays behind."""
    path = table_path(labels)
    said = said_of_table(path)
    if said is None or said.get("changes", 0) == len(changes.changes()):
        return
    if rows_of_table(path) <= SMALL and renew_table(labels, changes):
        return
    log.warning("%s is behind the labels; renew it: bigcp3d edit %s table", path, labels.path)


def renew_table(labels: ImageInfo, changes: EditLog) -> bool:
    """Bring the table in the store up to the last change, from the rows that were noted.

    False where a change has noted none, so that the labels must be measured again. `InputError` without a table.
    """
    path = table_path(labels)
    said = said_of_table(path)
    if said is None:
        raise InputError(f"{path}: there is no table; make one: bigcp3d measure {labels.path}")
    lines = changes.changes()
    later = [line for line in lines[int(said.get("changes", 0)) :] if line.kind not in ("decision", "ids")]
    kinds = {line.number: line.kind for line in lines}
    steps = [
        RowStep(changes.notes(line.of or line.number), backwards=line.of is not None)
        for line in later
        if line.of is None or kinds[line.of] != "decision"
    ]
    if steps:
        columns, _ = read_label_table(path)
        followed = follow_changes(columns, steps)
        if followed is None:
            return False
        write_label_table(labels, followed, {**said, "changes": len(lines)})
    return True
