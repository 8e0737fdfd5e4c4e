"""Writes files atomically: a file is complete or absent, even after a power cut."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4


def write_atomically(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file, and make its folder; ``write`` fills the open file, which replaces the old one when complete."""
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


def write_json(path: str | Path, content: Any) -> None:
    """Write a JSON file atomically."""
    write_atomically(path, lambda file: file.write(json.dumps(content).encode()))


def create_atomically(path: str | Path, write: Callable[[BinaryIO], object]) -> bool:
    """Write a file unless it exists, and return whether it was written. Of several that try at once, one succeeds."""
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
    """Wait until a file and its entry in the folder would survive a power cut; a missing file is skipped."""
    for name in (path, Path(path).parent):
        try:
            handle = os.open(name, os.O_RDONLY)
        except FileNotFoundError:  # zarr writes no file for a chunk of zeros
            continue
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
