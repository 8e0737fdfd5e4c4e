"""A place in an object store (``s3://``) or on a web server (``http://``, ``https://``), with the methods of a path.

Nothing is cached and no handle is kept: a `Remote` is two texts, compares by them, and travels to workers. An object
is written whole or not at all. A web server is read only and cannot be listed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bigcp3d.edge.stores.connections import connect, reaching
from bigcp3d.errors import InputError, TargetError

if TYPE_CHECKING:
    from zarr.storage import StorePath

SCHEMES = ("s3", "http", "https")

METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
"""Files by which a folder shows that it is there, on a server that cannot be listed."""

EDITS = 20
"""How often a file that others change as well is read and written again."""


@dataclass(frozen=True)
class Remote:
    """An address: ``root`` as ``"s3://bucket"`` or ``"https://host:port"``, and a key without slashes at its ends."""

    root: str
    key: str

    def __str__(self) -> str:
        return f"{self.root}/{self.key}" if self.key else self.root

    def __truediv__(self, inside: str) -> Remote:
        return Remote(self.root, f"{self.key}/{inside}".strip("/"))

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written there."""
        return not self.root.startswith("s3:")

    @property
    def name(self) -> str:
        """The last part."""
        return str(self).rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """From the last dot of the name on."""
        dot = self.name.rfind(".")
        return self.name[dot:] if dot > 0 else ""

    @property
    def parent(self) -> Remote:
        """The folder that holds it; a bucket's is itself."""
        return Remote(self.root, self.key.rpartition("/")[0])

    @property
    def parents(self) -> tuple[Remote, ...]:
        """All that hold it, the nearest first, the bucket last."""
        return (self.parent, *self.parent.parents) if self.key else ()

    @property
    def _quick(self) -> Any:
        """A connection that soon gives up: for checks."""
        return connect(self.root, patient=False)

    @property
    def _below(self) -> str | None:
        """What the keys below it begin with."""
        return f"{self.key}/" if self.key else None

    def zarr_store(self, *, remember: bool = False) -> StorePath:
        """What zarr opens; it ends here, since zarr would make groups of all folders above.

        With ``remember``, a task asks for nothing twice (`bigcp3d.edge.stores.read_cache`).
        """
        from zarr.storage import ObjectStore, StorePath

        from bigcp3d.edge.stores.read_cache import RememberingStore

        kind = RememberingStore if remember else ObjectStore
        return StorePath(kind(connect(self.root, self.key, patient=True), read_only=self.read_only))

    def is_file(self) -> bool:
        """Whether there is an object of this very name."""
        return self.size() is not None

    def exists(self) -> bool:
        """Whether there is such an object, or any below it; `InputError` where there is no such bucket."""
        if self.read_only:
            return any((self / name).is_file() for name in METADATA) or (bool(self.key) and self.is_file())
        with reaching(self):
            below: Any = next(iter(self._quick.list(self._below, chunk_size=1)), [])
        return len(below) > 0 or (bool(self.key) and self.is_file())

    def is_dir(self) -> bool:
        """Whether there is any object below it."""
        return self.exists() and not self.is_file()

    def iterdir(self) -> Iterator[Remote]:
        """What lies directly below it, by name; nothing on a web server, which cannot be listed."""
        if self.read_only:
            return
        with reaching(self):
            found = self._quick.list_with_delimiter(self._below)
        for key in sorted([*found["common_prefixes"], *(meta["path"] for meta in found["objects"])]):
            yield Remote(self.root, key.strip("/"))

    def read_bytes(self) -> bytes:
        """The content of an object; `FileNotFoundError` where there is none."""
        with reaching(self):
            return bytes(self._quick.get(self.key).bytes())

    def size(self) -> int | None:
        """Bytes of an object; None where there is none."""
        with reaching(self):
            try:
                return int(self._quick.head(self.key)["size"])
            except FileNotFoundError:
                return None

    def read_range(self, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` of an object that has them."""
        with reaching(self):
            return bytes(self._quick.get_range(self.key, start=start, end=stop))

    def write_bytes(self, content: bytes) -> None:
        """Write an object, whole or not at all, in place of one that is there."""
        self._refuse_read_only()
        with reaching(self, TargetError):
            self._quick.put(self.key, content)

    def remove(self) -> None:
        """Remove it, with all that is below it."""
        self._refuse_read_only()
        with reaching(self, TargetError):
            for found in self._quick.list(f"{self.key}/"):
                self._quick.delete([meta["path"] for meta in found])

    def check_writable(self) -> None:
        """Write an object below it and remove it again; `TargetError` where that cannot be done."""
        probe = self / ".bigcp3d-may-write"
        probe.write_bytes(b"")
        with reaching(probe, TargetError):
            self._quick.delete(probe.key)

    def edit_json(self, edit: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        """Change a JSON file that others may be changing too: none of the changes is lost.

        The file is written on the condition that it is still what was read, and read again otherwise. A server that
        knows no such condition ignores or refuses it; there the last writer wins.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        self._refuse_read_only()
        for _ in range(EDITS):
            with reaching(self, TargetError):
                mode: Any = "create"
                content: dict[str, Any] = {}
                try:
                    found = self._quick.get(self.key)
                    content = json.loads(bytes(found.bytes()))
                    tags = {"e_tag": found.meta["e_tag"], "version": found.meta["version"]}
                    mode = {key: tag for key, tag in tags.items() if tag is not None}
                except FileNotFoundError:
                    pass
                new = json.dumps(edit(content)).encode()
                try:
                    self._quick.put(self.key, new, mode=mode)
                    return
                except (AlreadyExistsError, PreconditionError):
                    continue
                except Exception as error:
                    if "NotImplemented" not in str(error):
                        raise
                self._quick.put(self.key, new)
                return
        raise TargetError(f"{self}: others keep changing it ({EDITS} tries); run the same command again")

    def _refuse_read_only(self) -> None:
        if self.read_only:
            raise InputError(f"{self}: a web server can only be read from; give --output, a local path or s3://")
