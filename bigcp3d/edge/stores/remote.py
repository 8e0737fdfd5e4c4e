"""A place in an object store (``s3://``) or on a web server (``http://``, ``https://``), with the methods of a path.

A `Remote` is two strings without a cache or an open connection, so it can be sent to workers. An object is written
completely or not at all. A web server can only be read, and cannot be listed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from bigcp3d.edge.stores.connections import METADATA, connect, is_bad_request, is_page, reaching, refuse_packed
from bigcp3d.errors import InputError, TargetError

if TYPE_CHECKING:
    from zarr.storage import StorePath

SCHEMES = ("s3", "http", "https")

EDITS = 20
"""How often an edit is tried while others change the same file."""


@dataclass(frozen=True)
class Remote:
    """An address: ``root`` as ``"s3://bucket"`` or ``"https://host:port"``, and a key without slashes at its ends."""

    root: str
    key: str

    def __str__(self) -> str:
        key = re.sub("[%#?]", lambda sign: quote(sign[0]), self.key) if self.root.startswith("http") else self.key
        return f"{self.root}/{key}" if key else self.root

    def __truediv__(self, inside: str) -> Remote:
        return replace(self, key=f"{self.key}/{inside}".strip("/"))

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written there."""
        return not self.root.startswith("s3:")

    @property
    def name(self) -> str:
        """The last part."""
        return str(self).rpartition("/")[2]

    @property
    def parent(self) -> Remote:
        """The folder that holds it; a bucket's is itself."""
        return replace(self, key=self.key.rpartition("/")[0])

    @property
    def parents(self) -> tuple[Remote, ...]:
        """All folders above, the nearest first, the bucket last."""
        return (self.parent, *self.parent.parents) if self.key else ()

    @property
    def _quick(self) -> Any:
        """A connection that gives up soon."""
        return connect(self.root, patient=False)

    @property
    def _below(self) -> str | None:
        """The start of all keys below it."""
        return f"{self.key}/" if self.key else None

    def zarr_store(self, *, remember: bool = False) -> StorePath:
        """A zarr store rooted at this place, since zarr would make groups of all folders above it.

        With ``remember``, a task reads nothing twice (`bigcp3d.edge.stores.read_cache`).
        """
        from zarr.storage import ObjectStore, StorePath

        from bigcp3d.edge.stores.read_cache import RememberingStore, RememberingWebStore
        from bigcp3d.edge.stores.web_store import WebStore

        web, plain = (RememberingWebStore, RememberingStore) if remember else (WebStore, ObjectStore)
        kind = web if self.read_only else plain
        return StorePath(kind(connect(self.root, self.key, patient=True), read_only=self.read_only))

    def is_file(self) -> bool:
        """Whether there is an object of exactly this name."""
        return self.size() is not None

    def exists(self) -> bool:
        """Whether there is an object of this name or below it; `InputError` where there is no such bucket.

        A web server that denies access says as much as that there is nothing.
        """
        if self.read_only:
            with suppress(InputError):
                return any((self / name).is_file() for name in METADATA) or (bool(self.key) and self.is_file())
            return False
        with reaching(self):
            below: Any = next(iter(self._quick.list(self._below, chunk_size=1)), [])
        return len(below) > 0 or (bool(self.key) and self.is_file())

    def is_dir(self) -> bool:
        """Whether there is any object below it."""
        return self.exists() and not self.is_file()

    def iterdir(self) -> Iterator[Remote]:
        """What is directly below it, sorted by name; nothing on a web server."""
        if self.read_only:
            return
        with reaching(self):
            found = self._quick.list_with_delimiter(self._below)
        for key in sorted([*found["common_prefixes"], *(meta["path"] for meta in found["objects"])]):
            yield Remote(self.root, key.strip("/"))

    def list_below(self) -> Iterator[str] | None:
        """Keys of all objects below it, from there; None on a web server, which lists nothing."""
        return None if self.read_only else self._list_below()

    def _list_below(self) -> Iterator[str]:
        start = len(self._below or "")
        with reaching(self):
            for found in self._quick.list(self._below):
                yield from (str(meta["path"])[start:] for meta in found)

    def read_bytes(self) -> bytes:
        """The content of an object; `FileNotFoundError` where there is none."""
        with reaching(self):
            return bytes(self._quick.get(self.key).bytes())

    @contextmanager
    def copied(self) -> Iterator[BinaryIO]:
        """A temporary copy of an object on this machine, so that memory never holds all of it."""
        with TemporaryFile() as file:
            with reaching(self):
                for part in self._quick.get(self.key).stream(min_chunk_size=2**20):
                    file.write(part)
            file.seek(0)
            yield file

    def size(self) -> int | None:
        """Bytes of an object; None where there is none. Web servers are asked as `WebStore` asks them."""
        with reaching(self):
            try:
                if not self.read_only:
                    return int(self._quick.head(self.key)["size"])
                answer = self._quick.get(self.key)
                refuse_packed(answer, self)
                return None if is_page(answer) else int(answer.meta["size"])
            except FileNotFoundError:
                return None
            except Exception as error:
                if self.read_only and is_bad_request(error):
                    return None
                raise

    def read_range(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` of an object; all of it is read where the server knows no ranges."""
        from obstore.exceptions import NotSupportedError

        with reaching(self):
            try:
                return bytes(self._quick.get_range(self.key, start=start, end=stop))
            except NotSupportedError:
                return self.read_bytes()[start:stop]

    def write_bytes(self, content: bytes | BinaryIO) -> None:
        """Write or replace an object; a file is read part by part."""
        self.refuse_read_only()
        with reaching(self, TargetError):
            self._quick.put(self.key, content)

    def remove(self) -> None:
        """Remove all objects below it."""
        self.refuse_read_only()
        with reaching(self, TargetError):
            for found in self._quick.list(f"{self.key}/"):
                self._quick.delete([meta["path"] for meta in found])

    def check_writable(self) -> None:
        """Write an object below it and remove it again; `TargetError` where that fails."""
        probe = self / ".bigcp3d-may-write"
        probe.write_bytes(b"")
        with reaching(probe, TargetError):
            self._quick.delete(probe.key)

    def edit_json(self, edit: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        """Change a JSON file without losing changes that others make at the same time.

        The file is written only if it is still as it was read; otherwise it is read again. On a server that does not
        support this condition, the last writer wins.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        self.refuse_read_only()
        for _ in range(EDITS):
            with reaching(self, TargetError):
                mode: Any = "create"
                content: dict[str, Any] = {}
                with suppress(FileNotFoundError):
                    found = self._quick.get(self.key)
                    content = json.loads(bytes(found.bytes()))
                    mode = {key: tag for key in ("e_tag", "version") if (tag := found.meta[key]) is not None}
                new = json.dumps(edit(content)).encode()
                try:
                    self._quick.put(self.key, new, mode=mode)
                except (AlreadyExistsError, PreconditionError):
                    continue
                except Exception as error:
                    if "NotImplemented" not in str(error):
                        raise
                    self._quick.put(self.key, new)
                return
        raise TargetError(
            f"{self}: other programs changed this file during each of {EDITS} tries to write it; run the "
            "same command again"
        )

    def refuse_read_only(self) -> None:
        """Raise an `InputError` where nothing can ever be written."""
        if self.read_only:
            raise InputError(
                f"{self}: a web server can only be read from; give --output, a local path or s3://, or copy the store "
                "there first"
            )
