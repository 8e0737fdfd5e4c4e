"""A place inside a zip archive (``.ozx``, ``.zip``) on this machine, with the methods of a `Remote`; it is read only.

Its text goes on after the name of the archive: ``/data/embryo.ozx/labels/cells``. Metadata and chunks are read through
zarr's `ZipStore`; each process opens an archive once, as long as the file does not change.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bigcp3d.edge.stores.passing_errors import is_passing
from bigcp3d.edge.stores.remote import Remote
from bigcp3d.errors import InputError

if TYPE_CHECKING:
    from zarr.storage import StorePath

ENDING = re.compile(r"\.(?:ozx|zip)(?=/|\Z)", re.IGNORECASE)


def in_archive(path: str) -> tuple[str, str] | None:
    """The archive and the path inside it, with / on each system; None where no part of the path is an archive.

    >>> in_archive("/data/embryo.zarr/0") is None
    True
    """
    path = path.replace(os.sep, "/")
    ends = [found.end() for found in ENDING.finditer(path)]  # a folder may be called so too
    return next(((path[:end], path[end:].strip("/")) for end in ends if os.path.isfile(path[:end])), None)


class ZipPlace(Remote):
    """``root`` is the absolute path of the archive, ``key`` the path inside it."""

    @property
    def _names(self) -> frozenset[str]:
        return _opened(self.root, *_stamp(self.root))[1]

    def zarr_store(self, *, remember: bool = False) -> StorePath:
        """A zarr store rooted at this place."""
        from zarr.storage import StorePath

        return StorePath(_opened(self.root, *_stamp(self.root))[0], self.key)

    def exists(self) -> bool:
        """Whether there is a file of this name or below it."""
        return not self.key or self.is_file() or any(name.startswith(f"{self.key}/") for name in self._names)

    def iterdir(self) -> Iterator[Remote]:
        """What is directly below it, sorted by name."""
        parts = {below.partition("/")[0] for below in self.list_below()}
        yield from (self / part for part in sorted(parts))

    def list_below(self) -> Iterator[str]:
        """Names of all files below it, from there."""
        start = f"{self.key}/" if self.key else ""
        return (name[len(start) :] for name in self._names if name.startswith(start))

    def size(self) -> int | None:
        """Bytes of a file; None where there is none."""
        if self.key not in self._names:
            return None
        with zipfile.ZipFile(self.root) as archive:
            return archive.getinfo(self.key).file_size

    def is_file(self) -> bool:
        """Whether there is a file of exactly this name."""
        return self.key in self._names

    def read_bytes(self) -> bytes:
        """The content of a file; `FileNotFoundError` where there is none."""
        if not self.is_file():
            raise FileNotFoundError(str(self))
        with zipfile.ZipFile(self.root) as archive:
            return archive.read(self.key)

    def read_range(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` of a file."""
        with zipfile.ZipFile(self.root) as archive, archive.open(self.key) as file:
            file.seek(start)
            return file.read(stop - start)

    def refuse_read_only(self) -> None:
        """Raise an `InputError`."""
        raise InputError(
            f"{self}: nothing can be written into a zip archive; give --output, a local path or s3://, or unpack it"
        )


def _stamp(path: str) -> tuple[int, int]:
    about = os.stat(path)
    return about.st_mtime_ns, about.st_size


@lru_cache(maxsize=16)
def _opened(path: str, changed_ns: int, size: int) -> tuple[Any, frozenset[str]]:
    """The zarr store of an archive and the names in it; `InputError` where it is damaged."""
    from zarr.core.sync import sync
    from zarr.storage import ZipStore

    try:
        with zipfile.ZipFile(path) as archive:
            names = frozenset(name for name in archive.namelist() if not name.endswith("/"))
        return sync(ZipStore.open(path, mode="r")), names
    except (zipfile.BadZipFile, OSError) as error:
        if is_passing(error):
            raise
        raise InputError(f"{path}: this zip archive cannot be read: {error}; copy or write it again") from error
