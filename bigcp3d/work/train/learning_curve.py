"""The learning curve of a training as a CSV file, and which of its validations was best."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from bigcp3d.edge.stores.atomic_files import write_bytes
from bigcp3d.work.train.checkpoint import Row


def write_curve(table: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Replace the whole file at once: after a crash no row is cut or there twice."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(table, text.getvalue().encode())


def score(row: Row) -> float | None:
    """The number that chooses the best model: the mean of Dice and AP at 0.5. None where these were not measured."""
    return (row["val_dice_cells"] + row["val_ap50"]) / 2 if "val_ap50" in row else None


def find_best(rows: Sequence[Row]) -> int | None:
    """Index of the row with the best score, the first of equals; None where there is none."""
    scores = [(value, -index) for index, row in enumerate(rows) if (value := score(row)) is not None]
    return -max(scores)[1] if scores else None


def stale(rows: Sequence[Row]) -> int:
    """Validations since the best one."""
    best = find_best(rows)
    return 0 if best is None else len(rows) - 1 - best
