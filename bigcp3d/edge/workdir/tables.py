"""Writes and reads tables: named arrays in the format of safetensors, after a checksum. Rows are one npy file.

A killed worker leaves the old file or the new one; the checksum finds later damage by a disk. A block of a small volume
reads two dozen tables, and an npz file takes ten times as long to read.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from bigcp3d.edge.stores.atomic_files import write_atomically
from bigcp3d.errors import InputError

SUFFIX = ".table"
"""Of the files that `write_table` writes."""

DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, SafetensorError),
    *(ValueError, EOFError, TypeError, AttributeError, KeyError),
)
"""What numpy, zipfile and safetensors raise for a damaged file. An `OSError` is none: the next try may succeed."""


def write_table(path: str | Path, **arrays: ArrayLike) -> None:
    """Write named arrays of numbers to a file, which is replaced in one step."""
    content = save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    write_atomically(path, lambda file: file.writelines((_checksum(content), content)))


def write_rows(path: str | Path, rows: NDArray[Any]) -> None:
    """Write one array to an npy file, which is replaced in one step."""
    write_atomically(path, lambda file: np.lib.format.write_array(file, rows, allow_pickle=False))


def open_rows(path: str | Path) -> NDArray[Any]:
    """The array of a file that `write_rows` wrote, read where it is used; `InputError` where the file is damaged.

    The file stays open as long as the array or a view of it lives, and a process may open about a thousand.
    """
    try:
        rows: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except DAMAGED as error:
        raise _damaged(path, error) from error
    return rows


def read_table(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file that `write_table` wrote; `InputError` where it is damaged."""
    try:
        with open(path, "rb") as file:
            checksum, content = file.read(4), file.read()
        if checksum != _checksum(content):
            raise ValueError("its checksum does not match")
        return load(content)
    except DAMAGED as error:
        raise _damaged(path, error) from error


def _checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(4, "little")


def _damaged(path: str | Path, error: Exception) -> InputError:
    return InputError(
        f"{path}: this table was damaged after it was written ({error}); start again with another --work-dir, or "
        "remove this one"
    )
