"""The list of true cells of an evaluation as CSV: one row a cell, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.stores.atomic_files import write_atomically

ROWS = 1 << 16
"""Rows that are turned into text at a time."""


def write_cell_list(path: str | Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write columns of shape (n,) as CSV; fractions get six digits, booleans become 0 and 1."""
    arrays = [array.astype(np.uint8) if array.dtype == bool else array for array in columns.values()]
    rows = len(arrays[0])

    def write(file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(columns)
        for start in range(0, rows, ROWS):
            part = (array[start : start + ROWS] for array in arrays)
            table.writerows(zip(*((a.round(6) if a.dtype.kind == "f" else a).tolist() for a in part), strict=True))
        text.flush()
        text.detach()

    write_atomically(path, write)
