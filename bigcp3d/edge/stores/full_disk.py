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
    free = format_bytes(shutil.disk_usage(nearest_there(path)).free)
    return FullDiskError(f"{path}: cannot be written: {error.strerror}; make space on its disk ({free} are free now)")
