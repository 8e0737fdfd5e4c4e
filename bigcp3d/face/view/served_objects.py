"""What the web server may read: the objects of one store, and metadata that replace the stored ones.

Neuroglancer refuses images of versions 0.1 to 0.3 and 0.6, units that it does not know, and levels without a scale;
`bigcp3d` reads all of these. So a shelf shows the metadata of each group as bigcp3d understood them, in micrometres and
in the version that goes with its zarr format. Voxels are passed on as they are.
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


class Objects(Protocol):
    """Objects by key, which is a relative path."""

    def size(self, key: str) -> int | None:
        """Bytes of an object; None where there is none of that key."""

    def read(self, key: str, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` of an object."""


@dataclass(frozen=True)
class Folder:
    """The files below a folder. Links are followed if they stay inside it; nothing outside is ever read."""

    root: Path

    def size(self, key: str) -> int | None:
        """Bytes of a regular file; None for anything else, such as a folder, a pipe, or a way out."""
        path = self._path(key)
        try:
            found = None if path is None else path.stat()
        except OSError:
            return None
        return found.st_size if found is not None and stat.S_ISREG(found.st_mode) else None

    def read(self, key: str, start: int, stop: int) -> bytes:
        """Bytes of a file for which `size` gave a number."""
        path = self._path(key)
        if path is None:
            return b""
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(stop - start)

    def _path(self, key: str) -> Path | None:
        """The file of a key; None for keys that are not plain, and where links lead outside."""
        if not is_plain(key):
            return None
        try:
            root = os.path.realpath(self.root)
            path = os.path.realpath(os.path.join(root, *key.split("/")))
            return Path(path) if os.path.commonpath([root, path]) == root else None
        except (OSError, ValueError):
            return None


@dataclass(frozen=True)
class Bucket:
    """The objects below an address, in S3 or on a web server; read with this machine's credentials."""

    root: Remote

    def size(self, key: str) -> int | None:
        """Bytes of an object; None where there is none."""
        return (self.root / key).size() if is_plain(key) else None

    def read(self, key: str, start: int, stop: int) -> bytes:
        """Bytes of an object for which `size` gave a number."""
        return (self.root / key).read_range(start, stop) if stop > start else b""


def is_plain(key: str) -> bool:
    """Whether a key is made of names alone, so that it leads down and nowhere else."""
    return not any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in key.split("/"))


def objects_at(where: str | Place) -> Objects:
    """What lies at a place."""
    spot = place(where)
    return Folder(spot) if isinstance(spot, Path) else Bucket(spot)


@dataclass(frozen=True)
class Shelf:
    """Objects of one group, from one place or several.

    ``places`` go by a prefix, which keys have on this shelf and not there ("" for all keys); ``instead`` holds objects
    that are given here.
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


def shelf_of(info: ImageInfo, *, as_written: bool = False) -> Shelf:
    """The shelf of an image or labels group, with its metadata as bigcp3d understood them, or ``as_written``."""
    objects = objects_at(info.path)
    if as_written:
        return Shelf({"": objects})
    unsigned = _as_unsigned(info, objects) if (info.dtype, info.zarr_format) == ("int64", 3) else {}
    return Shelf({"": objects}, {**group_metadata_of(info), **unsigned})


def _as_unsigned(info: ImageInfo, objects: Objects) -> dict[str, bytes]:
    """Metadata that call int64 arrays uint64: ids have the same bytes, and Neuroglancer knows the type."""
    instead = {}
    for key in (f"{level.path}/zarr.json" for level in info.levels):
        node = json.loads(objects.read(key, 0, objects.size(key) or 0))
        instead[key] = json.dumps({**node, "data_type": "uint64"}).encode()
    return instead


def group_metadata_of(info: ImageInfo) -> dict[str, bytes]:
    """The objects that make a group of this image: OME-Zarr 0.4 in zarr 2, 0.5 in zarr 3, in micrometres."""
    levels = ((level.path, level.scale_um or (1.0,) * 3, level.translation_um) for level in info.levels)
    version = "0.4" if info.zarr_format == 2 else "0.5"
    ome = {"multiscales": [describe_levels(version, info.axes, MICROMETRES, levels)]}
    if info.zarr_format == 2:
        return {".zgroup": b'{"zarr_format": 2}', ".zattrs": json.dumps(ome).encode()}
    node = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": version, **ome}}}
    return {"zarr.json": json.dumps(node).encode()}
