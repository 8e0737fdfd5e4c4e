"""Tables: named arrays in one file, all or nothing.

A table is an uncompressed npz without pickles. It is written beside its place and moved there in one step, so a killed
worker leaves the old file or the new one; what a disk did to it later is found by the checksums of the zip.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bigcp3d.errors import InputError


def write_atomically(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Make a file that is there whole or not at all, even after a power cut.

    Parameters
    ----------
    path : str or Path
        The file; its folder is made where it is missing.
    write : callable
        Writes the content into the open file that it is given.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid4().hex}.tmp"
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def create_atomically(path: str | Path, write: Callable[[BinaryIO], object]) -> bool:
    """Make a file as `write_atomically`, unless it is there; whether it was made. Of several at once, one succeeds."""
    path = Path(path)
    own = path.parent / f".{path.name}.{uuid4().hex}.own"
    write_atomically(own, write)
    try:
        os.link(own, path)
    except FileExistsError:
        return False
    finally:
        own.unlink(missing_ok=True)
    return True


def sync_file(path: str | Path) -> None:
    """Wait until a file that is there, and its name in its folder, would survive a power cut."""
    for name in (path, Path(path).parent):
        try:
            handle = os.open(name, os.O_RDONLY)
        except FileNotFoundError:  # zarr writes no file for what is nothing but fill
            continue
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_table(path: str | Path, **arrays: ArrayLike) -> None:
    """Write named arrays to one file, replacing it in one step.

    Raises
    ------
    ValueError
        For arrays of Python objects.
    """
    numbers = {name: np.asarray(array) for name, array in arrays.items()}

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, array in numbers.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)

    write_atomically(path, write)


def read_table(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file that `write_table` wrote.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    InputError
        Where the file is torn, truncated or something else; it names the file.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        ValueError,
        OSError,
        EOFError,
        TypeError,
        AttributeError,
        KeyError,
    ) as error:
        raise InputError(
            f"{path}: found a damaged table ({error}); allowed are whole npz files; the disk lost it after it was "
            "written: begin again with another --work-dir, or remove this one"
        ) from error
