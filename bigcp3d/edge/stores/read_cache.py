"""Keeps what a task has read from an object store until the task ends, so that nothing is fetched twice.

Layers of patches overlap and share chunks, which an object store would send and charge again. They stay in memory
compressed; beyond `REMEMBERED_BYTES` the least recently used are dropped. Only images are read this way
(`bigcp3d.edge.image.voxels.read_box`), never what a run is writing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import ObjectStore

from bigcp3d.edge.stores.web_store import WebStore

REMEMBERED_BYTES = 2**27
"""For one worker: 2.5 times the planes that layers of 512 x 512 voxels of uint16 share, uncompressed."""


class _Memory:
    """Buffers by object and byte range, kept while any task runs."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.tasks = 0
        self.size = 0
        self.kept: OrderedDict[Any, tuple[Buffer, Any]] = OrderedDict()

    def enter(self, by: int) -> None:
        with self.lock:
            self.tasks += by
            if self.tasks == 0:
                self.kept.clear()
                self.size = 0

    def get(self, key: Any) -> Buffer | None:
        with self.lock:
            if key not in self.kept:
                return None
            self.kept.move_to_end(key)
            return self.kept[key][0]

    def put(self, key: Any, buffer: Buffer, client: Any) -> None:
        """Keep a buffer, and the client: its id is in the key, and must not go to another client meanwhile."""
        with self.lock:
            if self.tasks == 0 or key in self.kept:
                return
            self.kept[key] = buffer, client
            self.size += len(buffer)
            while self.size > REMEMBERED_BYTES:
                self.size -= len(self.kept.popitem(last=False)[1][0])


_memory = _Memory()


@contextmanager
def remembering() -> Iterator[None]:
    """Keep what is read from images in object stores while this or another task runs in the process."""
    _memory.enter(1)
    try:
        yield
    finally:
        _memory.enter(-1)


class _Remembering(ObjectStore[Any]):
    """A store from which each object, or part of one, is fetched once while `remembering`."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """The bytes of an object or of a part of it, from memory where they were read before."""
        place = (id(self.store), key, byte_range)
        found = _memory.get(place)
        if found is None:
            found = await super().get(key, prototype, byte_range)
            if found is not None:
                _memory.put(place, found, self.store)
        return found


class RememberingStore(_Remembering):
    """An object store that remembers."""


class RememberingWebStore(_Remembering, WebStore):
    """A web server that remembers; where it knows no ranges, whole objects are."""
