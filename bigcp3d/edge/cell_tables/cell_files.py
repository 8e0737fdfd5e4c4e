"""Writes a table of cells as a file: CSV or Parquet."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.stores.atomic_files import write_atomically
from bigcp3d.edge.stores.check_writable import check_file
from bigcp3d.edge.stores.zarr_write import writing
from bigcp3d.errors import InputError

SUFFIXES = (".csv", ".parquet")
DIGITS = 9
"""Significant digits of a fraction in CSV."""

ROWS = 1 << 16
"""Rows that are turned into text at a time."""


def check_cell_file(path: str | Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot be written: `InputError` for its suffix or missing pyarrow, else `TargetError`."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: the name ends in '{path.suffix}'; use {' or '.join(SUFFIXES)}")
    if suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise InputError(
            f"{path}: Parquet needs the package pyarrow, which is not installed; install it: pip install "
            "'bigcp3d[parquet]', or give a name that ends in .csv"
        )
    check_file(path, overwrite=overwrite)


def write_cell_file(path: str | Path, columns: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> None:
    """Write columns of numbers and booleans, shape (n,), to a ``.csv`` or ``.parquet`` file; `TargetError` if not.

    Parquet keeps ``about`` as ``bigcp3d`` in the metadata of its schema.
    """
    with writing(Path(path)):
        if Path(path).suffix.lower() == ".csv":
            write_cell_list(path, columns)
        else:
            _write_parquet(path, columns, about)


def write_cell_list(path: str | Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write columns of shape (n,) as CSV; fractions keep `DIGITS` significant digits, booleans become 0 and 1."""
    arrays = [array.astype(np.uint8) if array.dtype == bool else array for array in columns.values()]

    def write(file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(columns)
        for start in range(0, len(arrays[0]), ROWS):
            part = (array[start : start + ROWS] for array in arrays)
            table.writerows(zip(*map(_as_numbers, part), strict=True))
        text.flush()
        text.detach()

    write_atomically(path, write)


def _as_numbers(column: NDArray[Any]) -> list[Any]:
    """A column as Python's numbers, which CSV writes without trailing zeros."""
    numbers = column.tolist()
    return [float(f"{number:.{DIGITS}g}") for number in numbers] if column.dtype.kind == "f" else numbers


def _write_parquet(path: str | Path, columns: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> None:
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({name: pyarrow.array(np.asarray(column)) for name, column in columns.items()})
    table = table.replace_schema_metadata({"bigcp3d": json.dumps(dict(about))})
    write_atomically(path, lambda file: parquet.write_table(table, file, compression="zstd"))
