"""Says in one line that a disk is full, whatever was written when it filled up."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bigcp3d.edge.stores.check_writable import nearest_there
from bigcp3d.errors import FullDiskError
from bigcp3d.pure.memory import format_bytes

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Codes of the errors for a full disk, and for a full share of it that belongs to the user."""

ENOUGH = 2**30
"""So many free bytes hold any file. If one cannot be written, there are too many, or the user's share is used up."""


@contextmanager
def full_disk_is_told(path: Path) -> Iterator[None]:
    """Raise a `FullDiskError` where something below ``path`` cannot be written, since its disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise full_disk_error(path, error) from error


def full_disk_error(path: Path, error: OSError) -> FullDiskError:
    """The error for a full disk, with the space that is left."""
    free = shutil.disk_usage(nearest_there(path)).free
    cure = f"make space on its disk ({format_bytes(free)} are free now)"
    if free > ENOUGH:
        cure += ". If you may have only so many files or bytes there, ask for more, or give another --work-dir"
    return FullDiskError(f"{path}: cannot be written: {error.strerror}; {cure}")
