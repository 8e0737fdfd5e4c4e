"""A lock as a file: who holds it, since when, and the last sign of life.

::

    <folder>/lock.json      {"id", "host", "machine", "pid", "started", "since"}; its mtime is the last sign of life

What a holder does with it is in `bigcp3d.schedule.running.lock`. These five operations are all that it needs of a
store.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from bigcp3d.edge.stores.atomic_files import create_atomically, write_atomically

LOCK = "lock.json"


@dataclass(frozen=True)
class Holder:
    """Who holds a lock."""

    id: str  # of this one holding; no two are equal
    host: str
    machine: str  # equal where ``pid`` means the same process: host, its start, the space of its process numbers
    pid: int
    started: float  # when the process began, in seconds since 1970
    since: float  # when it took the lock


class LockFile:
    """A lock of a folder."""

    def __init__(self, folder: str | Path, name: str = LOCK) -> None:
        self.path = Path(folder) / name

    def __str__(self) -> str:
        return str(self.path)

    def create(self, holder: Holder) -> bool:
        """Take it unless it is there; of several that try at once, one succeeds."""
        return create_atomically(self.path, lambda file: file.write(_encode(holder)))

    def read(self) -> tuple[Holder | None, float] | None:
        """The holder (None where it cannot be read) and its last sign of life; None where there is no lock."""
        try:
            text, sign = self.path.read_bytes(), self.path.stat().st_mtime
        except (FileNotFoundError, NotADirectoryError):
            return None
        with suppress(ValueError, TypeError):
            return Holder(**json.loads(text)), sign
        return None, sign

    def replace(self, holder: Holder) -> None:
        """Put another holder in the place of the one that is there."""
        write_atomically(self.path, lambda file: file.write(_encode(holder)))

    def touch(self) -> None:
        """Give a sign of life; takes no space on the disk."""
        os.utime(self.path)

    def remove(self) -> None:
        """Let go, and remove the folder where nothing else is in it, with an empty ``.bigcp3d`` folder above."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
            self.path.parent.rmdir()
            if self.path.parent.parent.name.endswith(".bigcp3d"):
                self.path.parent.parent.rmdir()


def _encode(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()
