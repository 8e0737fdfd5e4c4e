"""Where stores are: a local path, or an address in an object store or on a web server. All of `edge` goes through here.

::

    spot = place("s3://bucket/embryo.zarr")     # or "/data/embryo.zarr", "https://host/embryo.zarr"
    zarr.open_group(zarr_store(spot), mode="r") # what zarr opens, for a path as for an address
    (spot / "labels" / ".zattrs").read_bytes()  # small files; FileNotFoundError where there is none
    spot.name, spot.parent, spot.exists(), spot.is_file(), spot.iterdir()
    remove(spot)                                # with all that is in it

A place is a `pathlib.Path`, or a `Remote` with the same methods. Between functions and in plans a place travels as its
text, and ``f"{where}/{name}"`` joins both kinds.

Invariant: the text of a place holds no secret. Credentials come from the standard places alone
(`bigcp3d.edge.stores.connections`); addresses that carry some are refused, and the message does not repeat them.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from bigcp3d.edge.stores.remote import SCHEMES, Remote
from bigcp3d.errors import InputError

if TYPE_CHECKING:
    from zarr.storage import StorePath

Place = Path | Remote

ADDRESS = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/{1,2}(.*)$", re.DOTALL)
"""One slash is enough: ``Path("s3://bucket")`` has lost the other."""

HOST = dict.fromkeys(("http", "https"), re.compile(r"^[\w.-]+(:\d+)?$|^\[[0-9a-fA-F:]+\](:\d+)?$"))
HOST["s3"] = re.compile(r"^[\w.-]+$")
"""Names of hosts and buckets; whatever else stands there may be a secret, and is not repeated."""


def is_address(where: str | Path | Remote) -> bool:
    """Whether this is an address rather than a local path."""
    return ADDRESS.match(str(where)) is not None


def place(where: str | Path | Remote) -> Place:
    """The place that a text means: local paths absolute, with ``~`` expanded and links kept.

    `InputError` for addresses other than ``s3://``, ``http://`` and ``https://``, and for such as carry credentials.
    """
    found = ADDRESS.match(str(where))
    if found is None:
        return Path(os.path.abspath(os.path.expanduser(str(where))))
    scheme, rest = found[1].lower(), found[2]
    if scheme not in SCHEMES:
        raise InputError(
            f"{scheme}://: addresses of this kind cannot be read; use a local folder, s3://, or http(s):// to read "
            "from: copy the store there, or mount it"
        )
    host, _, key = rest.partition("/")
    if not HOST[scheme].match(host) or "?" in key or "#" in key:
        raise InputError(
            f"{scheme}://: the address lacks a {'bucket' if scheme == 's3' else 'host'}, or has credentials, a query "
            f"or a fragment, which would be written down with the labels; use {scheme}://NAME/PATH, and give "
            "credentials in the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE, ...), for public data none"
        )
    key = key if scheme == "s3" else unquote(key)
    parts = [part for part in key.split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise InputError(f"{where}: an address cannot contain . or ..; write it out")
    return Remote(f"{scheme}://{host}", "/".join(parts))


def zarr_store(where: str | Place, *, remember: bool = False) -> str | StorePath:
    """What zarr opens: the path itself, or a store that answers for an address (`Remote.zarr_store`)."""
    spot = place(where)
    return str(spot) if isinstance(spot, Path) else spot.zarr_store(remember=remember)


def remove(spot: Place) -> None:
    """Remove a folder with all that is in it; nothing where there is none."""
    if isinstance(spot, Remote):
        spot.remove()
    elif spot.exists():
        shutil.rmtree(spot)


def same_place(one: str | Place, other: str | Place) -> bool:
    """Whether two places are one, links followed."""
    a, b = place(one), place(other)
    return os.path.realpath(a) == os.path.realpath(b) if isinstance(a, Path) and isinstance(b, Path) else a == b


def path_between(start: str | Place, end: str | Place) -> str:
    """How to come from one place to another: relative where they share a drive, a bucket or a host."""
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
    """The place to which a way leads, as from `path_between`."""
    spot = place(start)
    if is_address(way) or os.path.isabs(way) or isinstance(spot, Path):
        return place(way if is_address(way) else os.path.join(str(spot), way))
    return Remote(spot.root, posixpath.normpath(f"/{spot.key}/{way}").strip("/"))


def refuse_address(where: Any, what: str, cure: str) -> None:
    """Refuse an address where only a local path will do (`InputError`)."""
    if where is not None and is_address(where):
        raise InputError(f"{place(where)}: this is an address, and {what} must be a local path: {cure}")
