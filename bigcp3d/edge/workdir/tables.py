"""Writes and reads tables: named arrays in one uncompressed npz file without pickles. Rows are one npy file.

A killed worker leaves the old file or the new one; the checksums of the zip find later damage by a disk.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bigcp3d.edge.stores.atomic_files import write_atomically
from bigcp3d.errors import InputError

DAMAGED = (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, TypeError, AttributeError, KeyError)
"""What numpy and zipfile raise for a damaged file."""


def write_table(path: str | Path, **arrays: ArrayLike) -> None:
    """Write named arrays to a file, which is replaced in one step."""

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)

    write_atomically(path, write)


def write_rows(path: str | Path, rows: NDArray[Any]) -> None:
    """Write one array to an npy file, which is replaced in one step."""
    write_atomically(path, lambda file: np.lib.format.write_array(file, rows, allow_pickle=False))


def open_rows(path: str | Path) -> NDArray[Any]:
    """The array of a file that `write_rows` wrote, read where it is used; `InputError` where the file is damaged."""
    try:
        rows: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise
    except DAMAGED as error:
        raise _damaged(path, error) from error
    return rows


def read_table(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file that `write_table` wrote; `InputError` where it is damaged."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except DAMAGED as error:
        raise _damaged(path, error) from error


def _damaged(path: str | Path, error: Exception) -> InputError:
    return InputError(
        f"{path}: this table was damaged after it was written ({error}); start again with another --work-dir, or "
        "remove this one"
    )
