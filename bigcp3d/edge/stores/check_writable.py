"""Checks that a new file could be written, before any work."""

from __future__ import annotations

import os
from pathlib import Path

from bigcp3d.edge.stores.places import refuse_address
from bigcp3d.errors import TargetError


def check_file(path: str | Path, *, overwrite: bool) -> None:
    """Refuse a file that could not be written: an address, a folder, one that is there, one without permission."""
    refuse_address(path, "a file", "write it there and copy it")
    path = Path(path)
    if os.path.isdir(path):
        raise TargetError(f"{path}: this is a folder; give the name of a file")
    check_folder(path.parent, path)
    if os.path.exists(path) and not overwrite:
        raise TargetError(f"{path}: there is something already; give --overwrite to replace it, or another name")


def check_folder(folder: Path, what: Path | None = None, *, cure: str = "give another place") -> None:
    """Refuse a folder, there or not, in which nothing can be made; the message names ``what`` is to be made there."""
    nearest = nearest_there(folder)
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        raise TargetError(
            f"{what or folder}: {nearest} is no folder with write permission; {cure}, or change the permissions"
        )


def nearest_there(path: Path) -> Path:
    """The path itself, or the first above it that is there."""
    path = path.absolute()
    while not os.path.exists(path):  # unlike Path.exists, false where a folder on the way cannot be entered
        path = path.parent
    return path
