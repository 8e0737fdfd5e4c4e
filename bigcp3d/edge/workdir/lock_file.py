"""Reads and writes a lock file: who holds the lock, since when, and the last sign of life.

::

    <folder>/lock.json      {"id", "host", "machine", "pid", "started", "since"}; its mtime is the last sign of life

`bigcp3d.schedule.running.lock` decides when to take, renew and release it.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from bigcp3d.edge.stores.atomic_files import create_atomically, write_bytes

LOCK = "lock.json"


@dataclass(frozen=True)
class Holder:
    """Who holds a lock."""

    id: str  # unique each time that a lock is taken
    host: str
    machine: str  # host, time of its start, space of process numbers; ``pid`` is valid only where all are equal
    pid: int
    started: float  # when the process began, in seconds since 1970
    since: float  # when it took the lock


class LockFile:
    """The lock file of a folder."""

    def __init__(self, folder: str | Path, name: str = LOCK) -> None:
        self.path = Path(folder) / name

    def __str__(self) -> str:
        return str(self.path)

    def create(self, holder: Holder) -> bool:
        """Take the lock if it is free; of several that try at once, one succeeds."""
        return create_atomically(self.path, lambda file: file.write(_encode(holder)))

    def read(self) -> tuple[Holder | None, float] | None:
        """The holder (None if unreadable) and its last sign of life; None where there is no lock."""
        try:
            text, sign = self.path.read_bytes(), self.path.stat().st_mtime
        except (FileNotFoundError, NotADirectoryError):
            return None
        with suppress(ValueError, TypeError):
            return Holder(**json.loads(text)), sign
        return None, sign

    def replace(self, holder: Holder) -> None:
        """Replace the holder."""
        write_bytes(self.path, _encode(holder))

    def touch(self) -> None:
        """Give a sign of life; this works on a full disk."""
        os.utime(self.path)

    def remove(self) -> None:
        """Release the lock, and remove its folder if empty, with an empty ``.bigcp3d`` folder above."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
            self.path.parent.rmdir()
            if self.path.parent.parent.name.endswith(".bigcp3d"):
                self.path.parent.parent.rmdir()


def _encode(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()
