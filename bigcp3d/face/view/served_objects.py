"""What the web server may read: the stored objects of a group, and metadata that replace the stored ones.

Neuroglancer refuses images of versions 0.1 to 0.3 and 0.6, units that it does not know, and levels without a scale;
bigcp3d reads all of these. So the server sends the metadata of each group as bigcp3d understood them, in micrometres
and in the version that goes with its zarr format. Voxels are sent as they are.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.transforms import describe_levels
from bigcp3d.edge.stores.places import Place, place
from bigcp3d.edge.stores.remote import Remote

MICROMETRES = ("micrometer",) * 3


@dataclass(frozen=True)
class StoredObjects:
    """The objects below a folder or an address, by their key, a relative path.

    Links are followed if they stay inside the folder; nothing outside is read.
    """

    root: Place

    def size(self, key: str) -> int | None:
        """Bytes of an object; None for anything else, such as a folder, a pipe, or a key that leads out."""
        spot = self._find(key)
        if spot is None or isinstance(spot, Remote):
            return None if spot is None else spot.size()
        try:
            found = spot.stat()
        except OSError:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def read(self, key: str, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` of an object for which `size` gave a number."""
        spot = self._find(key)
        if spot is None or stop <= start:
            return b""
        if isinstance(spot, Remote):
            return spot.read_range(start, stop)
        with open(spot, "rb") as file:
            file.seek(start)
            return file.read(stop - start)

    def _find(self, key: str) -> Place | None:
        """The place of a key; None where the key is not made only of names, or a link leads outside."""
        if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in key.split("/")):
            return None
        if isinstance(self.root, Remote):
            return self.root / key
        try:
            root = os.path.realpath(self.root)
            path = os.path.realpath(os.path.join(root, *key.split("/")))
            return Path(path) if os.path.commonpath([root, path]) == root else None
        except (OSError, ValueError):
            return None


class Objects(Protocol):
    """Objects by their key; `StoredObjects`, or others that are computed."""

    def size(self, key: str) -> int | None:
        """Bytes of an object; None where there is none."""

    def read(self, key: str, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` of an object for which `size` gave a number."""


@dataclass(frozen=True)
class ServedGroup:
    """The objects of one image or labels group, from one place or several.

    ``places`` are known by a prefix of the keys ("" for all keys), which the keys do not have in the place itself.
    ``instead`` holds objects that replace stored ones.
    """

    places: Mapping[str, Objects]
    instead: Mapping[str, bytes] = field(default_factory=dict)

    def size(self, key: str) -> int | None:
        """Bytes of an object; None where there is none of that key."""
        if key in self.instead:
            return len(self.instead[key])
        found = self._find(key)
        return None if found is None else found[0].size(found[1])

    def read(self, key: str, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` of an object."""
        if key in self.instead:
            return self.instead[key][start:stop]
        found = self._find(key)
        return b"" if found is None else found[0].read(found[1], start, stop)

    def _find(self, key: str) -> tuple[Objects, str] | None:
        """The place of a key, and the key there; of several prefixes the longest counts."""
        longest = max((prefix for prefix in self.places if key.startswith(prefix)), key=len, default=None)
        return None if longest is None else (self.places[longest], key[len(longest) :])


def serve_group(info: ImageInfo) -> ServedGroup:
    """An image or labels group with its metadata as bigcp3d understood them."""
    objects = StoredObjects(place(info.path))
    unsigned = _as_unsigned(info, objects) if (info.dtype, info.zarr_format) == ("int64", 3) else {}
    return ServedGroup({"": objects}, {**group_metadata_of(info), **unsigned})


def _as_unsigned(info: ImageInfo, objects: StoredObjects) -> dict[str, bytes]:
    """Metadata that declare int64 arrays as uint64: ids have the same bytes, and Neuroglancer knows the type."""
    instead = {}
    for key in (f"{level.path}/zarr.json" for level in info.levels):
        node = json.loads(objects.read(key, 0, objects.size(key) or 0))
        instead[key] = json.dumps({**node, "data_type": "uint64"}).encode()
    return instead


def group_metadata_of(info: ImageInfo) -> dict[str, bytes]:
    """The metadata objects of an image's group: OME-Zarr 0.4 in zarr 2, 0.5 in zarr 3, in micrometres."""
    levels = ((level.path, level.scale_um or (1.0,) * 3, level.translation_um) for level in info.levels)
    version = "0.4" if info.zarr_format == 2 else "0.5"
    ome = {"multiscales": [describe_levels(version, info.axes, MICROMETRES, levels)]}
    if info.zarr_format == 2:
        return {".zgroup": b'{"zarr_format": 2}', ".zattrs": json.dumps(ome).encode()}
    node = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": version, **ome}}}
    return {"zarr.json": json.dumps(node).encode()}
