"""Rows of a table of cells for the cells that a change touched, and a table that follows from them.

A change notes the rows of its cells before and after, and by how many the number of neighbours of other cells moves.
So a table that knows the changes up to some number becomes that of now without reading a voxel: rows go and come in the
order of the log. An undo does the same backwards. Columns are those of `bigcp3d.pure.cells.cell_table`, by the same
functions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box
from bigcp3d.pure.cells.cell_sums import CellSums, sum_cells
from bigcp3d.pure.cells.cell_table import Columns
from bigcp3d.pure.score.overlaps import Overlaps
from bigcp3d.work.analyse.measure import Measurement

Rows = dict[str, list[Any]]
"""Columns as JSON holds them."""


def note_rows(
    what: Measurement,
    box: Box,
    before: NDArray[np.integer],
    after: NDArray[np.integer],
    changed: Sequence[int],
    time: int,
) -> dict[str, Any]:
    """What a change notes for tables.

    ``before`` and ``after`` are the labels of ``box`` and one voxel around it, 0 beyond the volume. All voxels of the
    cells ``changed``, before and after, lie in the box and at least one voxel inside its faces, or at the volume's.
    """
    light = what.read_light(box, time)
    noted: dict[str, Any] = {"time": time}
    shift: Counter[int] = Counter()
    for name, labels, sign in (("before", before, -1), ("after", after, 1)):
        sums = sum_cells(labels, box.start, what.labels.levels[0].shape, light)
        sums, others = _only(sums, np.array(sorted(changed), np.uint64))
        columns = what.tabulate(sums)
        mine = np.isin(columns["label"], np.array(changed, np.uint64))
        noted[name] = {key: column[mine].tolist() for key, column in columns.items()}
        for other in others:
            shift[other] += sign
    noted["neighbours"] = [[cell, by] for cell, by in sorted(shift.items()) if by]
    return noted


def _only(sums: CellSums, changed: NDArray[np.uint64]) -> tuple[CellSums, list[int]]:
    """The sums with contacts of the changed cells only, and the other cell of each contact."""
    touching = sums.contacts
    one, other = np.isin(touching.pred, changed), np.isin(touching.truth, changed)
    kept = one | other
    contacts = Overlaps(touching.pred[kept], touching.truth[kept], touching.count[kept])
    others = np.concatenate([touching.truth[one & ~other], touching.pred[other & ~one]])
    return replace(sums, contacts=contacts), others.tolist()


@dataclass(frozen=True)
class RowStep:
    """What one line of the log does to a table: the notes of a change, and whether they are taken back."""

    notes: Mapping[str, Any]
    backwards: bool


def follow_changes(columns: Columns, steps: Iterable[RowStep]) -> Columns | None:
    """The table after some steps; None if one of them noted no rows, so that labels must be measured again."""
    base = {name: np.array(column) for name, column in columns.items()}
    index = {_key(time, label): row for row, (time, label) in enumerate(zip(_times(base), base["label"], strict=True))}
    gone: set[tuple[int, int]] = set()
    came: dict[tuple[int, int], dict[str, Any]] = {}
    shift: Counter[tuple[int, int]] = Counter()
    for step in steps:
        if "before" not in step.notes:
            return None
        time = int(step.notes.get("time", 0))
        old, new = (step.notes[name] for name in (("after", "before") if step.backwards else ("before", "after")))
        for label in old["label"]:
            key = _key(time, label)
            came.pop(key, None)
            gone.add(key)
            shift.pop(key, None)
        for row, label in enumerate(new["label"]):
            came[_key(time, label)] = {"time": time, **{name: values[row] for name, values in new.items()}}
        for label, by in step.notes["neighbours"]:
            shift[_key(time, label)] += -by if step.backwards else by
    stays = np.ones(len(base["label"]), bool)
    stays[[index[key] for key in gone if key in index]] = False
    for key, by in shift.items():
        if key in came:
            came[key]["neighbours"] += by
        elif key in index and "neighbours" in base:
            base["neighbours"] = (
                base["neighbours"].copy() if not base["neighbours"].flags.writeable else base["neighbours"]
            )
            base["neighbours"][index[key]] += by
    rows = list(came.values())
    joined = {name: np.concatenate([column[stays], _column(rows, name, column.dtype)]) for name, column in base.items()}
    order = np.lexsort((joined["label"], _times(joined)))
    return {name: column[order] for name, column in joined.items()}


def _key(time: Any, label: Any) -> tuple[int, int]:
    return int(time), int(label)


def _times(columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    return columns["time"] if "time" in columns else np.zeros(len(columns["label"]), np.int64)


def _column(rows: Sequence[Mapping[str, Any]], name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A column of rows; unknown fractions are NaN."""
    missing = np.nan if dtype.kind == "f" else 0
    return np.array([row.get(name, missing) for row in rows], dtype)
