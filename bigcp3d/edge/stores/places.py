"""Places of stores: a local path, an address in an object store or on a web server, or a path in a zip archive.

::

    spot = place("s3://bucket/embryo.zarr")     # or "/data/embryo.zarr", "https://host/embryo.zarr"
    zarr.open_group(zarr_store(spot), mode="r") # zarr opens a path and an address in the same way
    (spot / "labels" / ".zattrs").read_bytes()  # small files; FileNotFoundError where there is none
    spot.name, spot.parent, spot.exists(), spot.is_file(), spot.iterdir()
    remove(spot)                                # with all that is in it

A place is a `pathlib.Path`, or a `Remote` with the same methods. Plans hold a place as text; ``f"{where}/{name}"``
works for both kinds.

Invariant: the text of a place holds no secret. Addresses with credentials are refused, and the message does not repeat
them; `bigcp3d.edge.stores.connections` says where credentials come from.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from bigcp3d.edge.stores.remote import SCHEMES, Remote
from bigcp3d.edge.stores.zip_place import ZipPlace, in_archive
from bigcp3d.errors import InputError

if TYPE_CHECKING:
    from zarr.storage import StorePath

Place = Path | Remote

ADDRESS = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/{1,2}(.*)$", re.DOTALL)
"""One slash is enough, since ``Path("s3://bucket")`` drops the other."""

HOST = dict.fromkeys(("http", "https"), re.compile(r"^[\w.-]+(:\d+)?$|^\[[0-9a-fA-F:]+\](:\d+)?$"))
HOST["s3"] = re.compile(r"^[\w.-]+$")
"""Names of hosts and buckets; anything else may be a secret, and is not repeated in messages."""


def is_address(where: str | Path | Remote) -> bool:
    """Whether this is an address, or a place in a zip archive, rather than a local file or folder."""
    return ADDRESS.match(str(where)) is not None or in_archive(_absolute(where)) is not None


def _absolute(where: str | Path | Remote) -> str:
    return os.path.abspath(os.path.expanduser(str(where)))


def place(where: str | Path | Remote) -> Place:
    """Turn text into a place; local paths become absolute, with ``~`` expanded and links kept.

    `InputError` for addresses other than ``s3://``, ``http://`` and ``https://``, and for addresses with credentials.
    """
    found = ADDRESS.match(str(where))
    if found is None:
        archive = in_archive(_absolute(where))
        return ZipPlace(*archive) if archive else Path(_absolute(where))
    scheme, rest = found[1].lower(), found[2]
    if scheme not in SCHEMES:
        raise InputError(
            f"{scheme}://: addresses of this kind cannot be read; copy the store to a local folder or s3://, mount it, "
            "or read it from http(s)://"
        )
    host, _, key = rest.partition("/")
    if not HOST[scheme].match(host) or "?" in key or "#" in key:
        raise InputError(
            f"{scheme}://: the address lacks a {'bucket' if scheme == 's3' else 'host'}, or contains credentials, a "
            f"query or a fragment, which must not be written into the labels; use {scheme}://NAME/PATH, and give "
            "credentials in the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE, ...); public data need none"
        )
    key = key if scheme == "s3" else unquote(key)
    parts = [part for part in key.split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise InputError(f"{where}: an address cannot contain . or ..; give the full address")
    return Remote(f"{scheme}://{host}", "/".join(parts))


def zarr_store(where: str | Place, *, remember: bool = False) -> str | StorePath:
    """The argument for zarr's open functions: a path, or a store for an address (`Remote.zarr_store`)."""
    spot = place(where)
    return str(spot) if isinstance(spot, Path) else spot.zarr_store(remember=remember)


def files_below(spot: Place) -> Iterator[str] | None:
    """Paths of all files in a folder, from there, in any order, links followed; None where a server lists nothing."""
    return _walk(spot, "") if isinstance(spot, Path) else spot.list_below()


def _walk(folder: Path, above: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(folder / entry.name, f"{above}{entry.name}/")
            else:
                yield above + entry.name


def remove(spot: Place) -> None:
    """Remove a folder with all that is in it, where it exists."""
    if isinstance(spot, Remote):
        spot.remove()
    elif spot.exists():
        shutil.rmtree(spot)


def same_place(one: str | Place, other: str | Place) -> bool:
    """Whether two places are the same, with links followed."""
    a, b = place(one), place(other)
    return os.path.realpath(a) == os.path.realpath(b) if isinstance(a, Path) and isinstance(b, Path) else a == b


def lies_in(inner: str | Place, outer: str | Place) -> bool:
    """Whether a place on this machine lies in a folder, with links followed."""
    if not isinstance(place(inner), Path) or not isinstance(place(outer), Path):
        return False
    return Path(os.path.realpath(str(place(outer)))) in Path(os.path.realpath(str(place(inner)))).parents


def path_between(start: str | Place, end: str | Place) -> str:
    """Path from one place to another: relative where they share a drive, a bucket or a host, else absolute."""
    a, b = place(start), place(end)
    if isinstance(a, Remote) and isinstance(b, Remote) and a.root == b.root:
        return posixpath.relpath(f"/{b.key}", f"/{a.key}")
    if isinstance(a, Path) and isinstance(b, Path):
        try:
            return Path(os.path.relpath(b, a)).as_posix()
        except ValueError:  # another drive
            pass
    return b.as_posix() if isinstance(b, Path) else str(b)


def follow(start: str | Place, way: str) -> Place:
    """The place at the end of a path that `path_between` may have made."""
    spot = place(start)
    if is_address(way) or os.path.isabs(way) or isinstance(spot, Path):
        return place(way if is_address(way) else os.path.join(str(spot), way))
    return replace(spot, key=posixpath.normpath(f"/{spot.key}/{way}").strip("/"))


def refuse_address(where: Any, what: str, cure: str) -> None:
    """Raise `InputError` for an address, or a place in an archive, where a local path is needed."""
    if where is None or not is_address(where):
        return
    spot = place(where)
    if not isinstance(spot, ZipPlace) or spot.key:
        kind = "in a zip archive" if isinstance(spot, ZipPlace) else "an address"
        raise InputError(f"{spot}: this is {kind}, and {what} must be a local path: {cure}")
