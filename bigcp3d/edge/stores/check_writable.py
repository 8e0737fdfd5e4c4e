"""Checks before any work that a new file or folder can be written."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from bigcp3d.edge.stores.places import refuse_address
from bigcp3d.errors import TargetError


def check_file(path: str | Path, *, overwrite: bool, instead: str = "another name") -> None:
    """Refuse a file that cannot be written: an address, a folder, an existing file, a place without permission.

    A file inside a zarr store is refused too, because other programs take it for a part of the store. ``instead`` says
    what to give if the file must not be replaced.
    """
    refuse_address(path, "a file", "write it there and copy it")
    path = Path(path)
    if os.path.isdir(path):
        raise TargetError(f"{path}: this is a folder; give the name of a file")
    check_folder(path.parent, path)
    if (store := store_around(path)) is not None:
        raise TargetError(f"{path}: this lies inside the zarr store {store}; give a path outside it")
    if os.path.exists(path) and not overwrite:
        raise TargetError(f"{path}: this file exists already; give --overwrite to replace it, or {instead}")


def store_around(path: Path) -> Path | None:
    """The outermost zarr store in whose folder a path lies, which need not exist; None where there is none."""
    return next((folder for folder in reversed(path.absolute().parents) if _is_store(folder)), None)


def _is_store(folder: Path) -> bool:
    """Whether a folder is a zarr array, or a group that says something.

    napari-ome-zarr makes groups that say nothing of folders that hold stores.
    """
    for name in (".zarray", ".zattrs", "zarr.json"):
        with suppress(OSError, ValueError, AttributeError):
            said = json.loads((folder / name).read_bytes())
            if name != "zarr.json" or said.get("node_type") == "array" or said.get("attributes"):
                return bool(said)
    return False


def check_folder(folder: Path, what: Path | None = None, *, cure: str = "give another place") -> None:
    """Refuse a folder, existing or not, that cannot be written to; the message names ``what``, a path in it."""
    nearest = nearest_there(folder)
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        raise TargetError(
            f"{what or folder}: {nearest} is not a folder with write permission; {cure}, or change the permissions"
        )


def nearest_there(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    path = path.absolute()
    while not os.path.exists(path):  # Path.exists raises where a folder on the way cannot be entered
        path = path.parent
    return path
