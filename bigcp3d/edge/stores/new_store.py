"""Writes a new store under a hidden name beside its target, and moves it there when it is complete.

So a writer that was killed leaves nothing that looks like a finished store.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bigcp3d.edge.stores import platforms
from bigcp3d.edge.stores.check_writable import check_folder
from bigcp3d.errors import TargetError


def partial_of(where: Path) -> Path:
    """The hidden folder in which a store is written."""
    return where.with_name(f".{where.name}.partial")


def check_new_store(where: Path, *, overwrite: bool) -> None:
    """Raise a `TargetError` for a target that cannot be written, or must not be replaced."""
    check_folder(where.parent, where, cure="give another path")
    if where.is_symlink():
        raise TargetError(f"{where}: this is a link to {where.readlink()}; give the path that it points to, or another")
    if not where.exists():
        return
    if not overwrite:
        raise TargetError(f"{where} exists already; give another path, or --overwrite")
    if not any((where / name).is_file() for name in ("zarr.json", ".zgroup")):
        raise TargetError(
            f"{where} exists and is not a zarr group, and only zarr groups can be replaced; give another path"
        )


def put_in_place(finished: Path, where: Path) -> None:
    """Move a finished store to its place, where there may be an older one."""
    try:
        if where.exists():
            platforms.patiently(shutil.rmtree, where)
        platforms.patiently(finished.rename, where)
    except OSError as error:
        raise TargetError(
            f"{where}: the finished image cannot take this place ({error}); move away what lies there, and repeat "
            "the command"
        ) from error
