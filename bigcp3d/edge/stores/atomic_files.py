"""Writes files atomically: a file is complete or absent, even after a power cut.

Windows and macOS need other calls than Linux: see `bigcp3d.edge.stores.platforms`.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from bigcp3d.edge.stores import platforms

NO_HARD_LINKS = (errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What file systems without hard links answer: exFAT, FAT, some network shares."""


def write_atomically(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file, and make its folder; ``write`` fills the open file, which replaces the old one when complete."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid4().hex}.tmp"
    try:
        with open(temporary, "xb") as file:
            _fill(file, write)
        platforms.patiently(os.replace, temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file of these bytes atomically, and make its folder."""
    write_atomically(path, lambda file: file.write(content))


def write_json(path: str | Path, content: Any) -> None:
    """Write a JSON file atomically."""
    write_bytes(path, json.dumps(content).encode())


def create_atomically(path: str | Path, write: Callable[[BinaryIO], object]) -> bool:
    """Write a file unless it exists, and return whether it was written. Of several that try at once, one succeeds."""
    path = Path(path)
    own = path.parent / f".{path.name}.{uuid4().hex}.own"
    write_atomically(own, write)
    try:
        os.link(own, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        return _create(path, write)
    finally:
        own.unlink(missing_ok=True)
    return True


def _create(path: Path, write: Callable[[BinaryIO], object]) -> bool:
    """The same without hard links. For a moment, others may see the file incomplete."""
    try:
        with open(path, "xb") as file:
            _fill(file, write)
    except FileExistsError:
        return False
    return True


def _fill(file: BinaryIO, write: Callable[[BinaryIO], object]) -> None:
    write(file)
    file.flush()
    platforms.sync(file.fileno())


def sync_file(path: str | Path) -> None:
    """Wait until a file and its entry in the folder would survive a power cut; a missing file is skipped."""
    for name, flags in platforms.to_sync(path):
        try:
            handle = os.open(name, flags)
        except FileNotFoundError:  # zarr writes no file for a chunk of zeros
            continue
        try:
            platforms.sync(handle)
        finally:
            os.close(handle)
