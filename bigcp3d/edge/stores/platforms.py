"""What Windows and macOS do in another way than Linux, in one place.

None of it was run on Windows or macOS. Tests set ``WINDOWS`` or put stand-ins in place of the system's modules.
"""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
import time as clock
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

WINDOWS = sys.platform == "win32"
WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""How long Windows is given to let go of a file that a reader, an indexer or a virus scanner holds open."""
RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$|[<>:\"|?*]|[. ]$", re.IGNORECASE)
"""Names that Windows gives to no file."""
PATH_LIMIT = 259
LONG_PATHS = r"SYSTEM\CurrentControlSet\Control\FileSystem"


def _module(name: str) -> Any:
    """A module of the standard library that only some systems have, or None."""
    with suppress(ImportError):
        return importlib.import_module(name)
    return None


def patiently(action: Callable[..., T], *args: Any) -> T:
    """Do ``action``. Windows refuses to replace or remove a file that is open anywhere, so there it is tried again."""
    for wait in WAITS_S if WINDOWS else ():
        try:
            return action(*args)
        except PermissionError:
            clock.sleep(wait)
    return action(*args)


def to_sync(path: str | Path) -> list[tuple[str | Path, int]]:
    """What to open, and how, to make a file last: on Windows the file alone, since it can open no folders."""
    return [(path, os.O_RDWR)] if WINDOWS else [(path, os.O_RDONLY), (Path(path).parent, os.O_RDONLY)]


def sync(handle: int) -> None:
    """Wait until an open file is on the disk. On macOS ``fsync`` alone leaves it in the memory of the disk."""
    fcntl = _module("fcntl")
    if hasattr(fcntl, "F_FULLFSYNC"):
        with suppress(OSError):  # a file system that does not know it
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
            return
    os.fsync(handle)


def try_lock(handle: int) -> bool:
    """Lock an open file until it is closed; whether that worked. `OSError` where there are no locks."""
    if (fcntl := _module("fcntl")) is not None:
        with suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False
    msvcrt = _module("msvcrt")
    if msvcrt is None:
        raise OSError("there are no locks on this system")
    with suppress(PermissionError):
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        return True
    return False


@contextmanager
def folder_locked(path: Path) -> Iterator[None]:
    """Hold a lock on a folder, and wait for it; without a lock where a system or a file system has none."""
    if (fcntl := _module("fcntl")) is None:  # Windows
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def path_limit() -> int | None:
    """How many letters a path may have: 259 on Windows, unless long paths are turned on. None for no limit."""
    if not WINDOWS:
        return None
    if (winreg := _module("winreg")) is not None:
        with suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, LONG_PATHS) as key:
            if winreg.QueryValueEx(key, "LongPathsEnabled")[0]:
                return None
    return PATH_LIMIT


def peak_bytes() -> int:
    """Peak resident size of this process since it began; 0 where the system does not say."""
    resource = _module("resource")
    if resource is None:  # Windows
        import psutil

        return int(getattr(psutil.Process().memory_info(), "peak_wset", 0))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most) * (1 if sys.platform == "darwin" else 1024)


def join_words(words: Iterable[str]) -> str:
    """A command line to paste: in the quotes of this system's shell."""
    return subprocess.list2cmdline(list(words)) if WINDOWS else shlex.join(words)
