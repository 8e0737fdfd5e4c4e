"""The review of cells: a queue in the order of doubt, a random sample beside it, and one decision for each cell.

Decisions are lines of the log of changes, so they can be taken back too. From those about the random sample follows
the share of wrong cells in the whole volume. Cells that were missed are no cells: they stand in the queue as positions,
and not in the random sample.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bigcp3d.edge.cell_tables.label_table import said_of_table
from bigcp3d.edge.image.given_maps import KEPT
from bigcp3d.edge.image.metadata import own_part
from bigcp3d.edge.image.open_node import read_attributes
from bigcp3d.edge.image.voxels import check_time
from bigcp3d.edge.labels.default_name import DEFAULT_NAME
from bigcp3d.edge.labels.edit_log import Change, EditLog, cell_box, updated_region
from bigcp3d.edge.stores.places import Place
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import vec3
from bigcp3d.pure.cells.review_order import ErrorRate, doubts, error_rate, random_order
from bigcp3d.schedule.edits.edit import Edits
from bigcp3d.schedule.edits.edited_table import current_table
from bigcp3d.work.analyse.doubtful_cells import read_cells
from bigcp3d.work.run.work_dir import default_work_dir

DECISIONS = ("good", "wrong", "merge", "split", "delete", "skip")
WRONG = ("wrong", "merge", "split", "delete")


@dataclass(frozen=True)
class Doubt:
    """An entry of the queue.

    Attributes
    ----------
    id : int
        The cell; 0 for foreground without a label.
    voxel : tuple of int
        The middle of the cell's box, or a voxel of the foreground, (z, y, x) in level 0.
    volume_vox : int
        Voxels.
    doubt : float
        Robust standard deviations from what is usual; infinite for foreground without a label.
    why : str
        The reason: "large volume", "small fill", ..., "missing".
    sample : bool
        Whether the entry is of the random sample.
    """

    id: int
    voxel: tuple[int, int, int]
    volume_vox: int
    doubt: float
    why: str
    sample: bool = False

    def as_json(self) -> dict[str, Any]:
        """The entry for JSON, without an infinite number."""
        return {**asdict(self), "doubt": self.doubt if np.isfinite(self.doubt) else None}


def review(
    store: str | Path,
    name: str = DEFAULT_NAME,
    *,
    most: int = 100,
    sample: bool = False,
    time: int = 0,
    maps: str | Path | None = None,
) -> list[Doubt]:
    """The cells to look at: the most doubtful first, or a random sample. Reads all labels once.

    Parameters
    ----------
    store : str or Path
        An image with labels, a labels group, or one labels image.
    name : str, default "cells"
        Name of the labels.
    most : int, default 100
        How many entries.
    sample : bool, default False
        A random sample instead, from which the error rate of all cells follows (`sample_error`).
    time : int, default 0
        The time point.
    maps : str or Path, optional
        Folder with the maps from which the labels were made. Default: the maps that the run kept, if any.

    Returns
    -------
    list of Doubt
        Without cells that were decided already.

    Raises
    ------
    InputError
        If there are no such labels or maps.

    Examples
    --------
    >>> queue = bigcp3d.review("tissue.zarr", most=3)
    >>> len(queue) <= 3
    True
    """
    edits = Edits(store, name)
    edits.settle()
    said = own_part(read_attributes(edits.labels.path)).get("parameters") or {}
    found = read_cells(edits.labels, maps or _kept_maps(edits, said), said, time)
    rows = found.rows
    columns = {"volume": rows.volume.astype(float), "elongation": rows.elongation, "fill": rows.fill}
    columns |= {"foreground": found.foreground, "lost": found.lost, "shared surface": found.shared} | _flow_errors(
        edits, rows.ids
    )
    score, why = doubts(columns, rows.border)
    middle = (rows.low + rows.high) // 2
    decided = {str(change.given.get("id") or change.given.get("voxel")) for change in decisions(edits.changes, time)}
    order = random_order(rows.ids) if sample else np.argsort(-score, kind="stable")
    open_ = (k for k in order if str(int(rows.ids[k])) not in decided)
    cells = [
        Doubt(int(rows.ids[k]), vec3(middle[k]), int(rows.volume[k]), float(score[k]), why[k], sample)
        for k in itertools.islice(open_, most)
    ]
    if sample:
        return cells
    missing = [Doubt(0, voxel, size, float("inf"), "missing") for voxel, size in found.missing]
    missing = [entry for entry in missing if str(list(entry.voxel)) not in decided]
    return _alternate(sorted(missing, key=lambda entry: -entry.volume_vox), cells)[:most]


def decide(edits: Edits, entry: int | Sequence[int], decision: str, *, sample: bool = False, time: int = 0) -> Change:
    """Write a decision about a cell, or a voxel of a missed one, into the log.

    ``decision`` is one of `DECISIONS`. Only those about the random ``sample`` count for the error rate.
    """
    if decision not in DECISIONS:
        raise InputError(f"{decision!r} was given; use one of {', '.join(DECISIONS)}")
    if isinstance(entry, int):
        if entry < 1:
            raise InputError(f"cell {entry} was given; use an id from 1, or the voxel of a missed cell as Z,Y,X")
        return edits.decide(entry, decision, time=time, sample=sample)
    check_time(edits.labels, time)
    shape = edits.labels.levels[0].shape
    if len(entry) != 3 or not all(0 <= at < side for at, side in zip(entry, shape, strict=True)):
        raise InputError(f"voxel {tuple(entry)} was given, outside the volume of {shape} voxels (z, y, x)")
    return edits.decide(0, decision, time=time, voxel=list(entry))


def take_back_last(edits: Edits) -> Change:
    """Take the last decision back, whatever corrections came after it; `InputError` where there is none."""
    there = [change for change in edits.changes.active() if change.kind == "decision"]
    if not there:
        raise InputError(f"{edits.target.path}: there is no decision to take back")
    edits.withdraw(there[-1])
    return there[-1]


def decisions(changes: EditLog, time: int | None = None) -> list[Change]:
    """The decisions that count, oldest first: the last one about each cell.

    Those about cells count no more after all ids were changed (`renumber`), or after an update of a region that their
    cells met.
    """
    last = dict[str, Change]()
    for change in changes.active():
        if change.kind in ("renumber", "update"):
            last = {key: made for key, made in last.items() if not made.cells or not _reaches(change, made)}
        elif change.kind == "decision" and time in (None, change.time):
            last[f"{change.time} {change.given.get('id') or change.given.get('voxel')}"] = change
    return list(last.values())


def _reaches(change: Change, made: Change) -> bool:
    """Whether a renumbering or an update may have changed the cell of a decision."""
    if change.kind == "renumber":
        return True
    reached = cell_box(made.cells[0]).intersect(updated_region(change))
    return made.time in change.given["times"] and not reached.empty


def sample_error(labels: Place) -> ErrorRate | None:
    """The error rate of labels, as the random sample says; None where none of it was decided."""
    said = [change.given["decision"] for change in decisions(EditLog(labels)) if change.given.get("sample")]
    checked = [decision for decision in said if decision != "skip"]
    return error_rate(sum(decision in WRONG for decision in checked), len(checked))


def _alternate(missing: list[Doubt], cells: list[Doubt]) -> list[Doubt]:
    """Both in their order: a missed cell after every second doubtful one."""
    queue, left = list[Doubt](), [*missing]
    for k, cell in enumerate(cells):
        queue.append(cell)
        if left and k % 2:
            queue.append(left.pop(0))
    return queue + left


def _kept_maps(edits: Edits, said: dict[str, Any]) -> Path | None:
    """Where the run of the labels kept its maps, if it did."""
    home = default_work_dir(edits.target.group, edits.target.name)
    return home if "shape" in said and (home / KEPT).is_dir() else None


def _flow_errors(edits: Edits, ids: Any) -> dict[str, Any]:
    """The flow error of each cell, where the table in the store has it."""
    if said_of_table(edits.labels) is None:
        return {}
    try:
        columns = current_table(edits.labels, edits.changes)
    except InputError:
        return {}
    if "flow_error" not in columns or "time" in columns:
        return {}
    known = dict(zip(columns["label"].tolist(), columns["flow_error"].tolist(), strict=True))
    return {"flow_error": np.array([known.get(int(i), np.nan) for i in ids])}
