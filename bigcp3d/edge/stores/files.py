"""Places for new files, looked at before any work: a long computation must not end where its result cannot go."""

from __future__ import annotations

import os
from pathlib import Path

from bigcp3d.edge.stores.places import refuse_address
from bigcp3d.errors import TargetError


def check_file(path: str | Path, *, overwrite: bool) -> None:
    """Refuse a file that could not be written; nothing is.

    Raises
    ------
    InputError
        It is an address.
    TargetError
        It is a folder, is there already and not to be replaced, or its folder cannot be made or written to.
    """
    refuse_address(path, "a file", "write it there and copy it")
    path = Path(path)
    if os.path.isdir(path):
        raise TargetError(f"{path}: found a folder; allowed is a file; give another name")
    check_folder(path.parent, path)
    if os.path.exists(path) and not overwrite:
        raise TargetError(f"{path}: found something there already; give --overwrite to replace it, or another name")


def check_folder(folder: Path, what: Path | None = None, *, cure: str = "give another place") -> None:
    """Refuse a folder in which nothing can be made, be it there or not yet (`TargetError`).

    Parameters
    ----------
    folder : Path
    what : Path, optional
        What is to be made there, for the message; default the folder.
    cure : str
        What to do, for the message.
    """
    nearest = nearest_there(folder)
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        raise TargetError(
            f"{what or folder}: found {nearest}, which cannot be written; allowed are folders with write permission; "
            f"{cure}, or change the permissions"
        )


def nearest_there(path: Path) -> Path:
    """The path itself, or the first above it that is there."""
    path = path.absolute()
    while not os.path.exists(path):  # unlike Path.exists, false where a folder on the way cannot be entered
        path = path.parent
    return path
