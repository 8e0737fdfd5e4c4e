"""Writes a store into one zip archive, ``.ozx``, as OME's RFC-9 says: uncompressed, metadata first, with a comment."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bigcp3d.edge.stores.atomic_files import write_atomically
from bigcp3d.edge.stores.places import Place, files_below
from bigcp3d.edge.stores.zarr_write import writing
from bigcp3d.errors import InputError

METADATA = "zarr.json"
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The date of all files in an archive, so that the same store gives the same bytes."""


def write_zip(store: Place, target: Path, version: str, on_file: Callable[[int, int], None]) -> int:
    """Write all files of a zarr 3 store but hidden ones; the number of files. The archive appears when it is complete.

    One file is in memory at a time. ``on_file`` receives the number of files written and of all. `TargetError` where
    the disk is full or the folder cannot be written.
    """
    total = sum(1 for _ in _files(store))
    nodes = sorted((name for name in _files(store) if _is_metadata(name)), key=lambda name: (name.count("/"), name))
    about = {"version": version, "zipFile": {"centralDirectory": {"jsonFirst": True}}}

    def write(file: object) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:  # type: ignore[call-overload]
            done = 0
            for names in (nodes, (name for name in _files(store) if not _is_metadata(name))):
                for name in names:
                    content = (store / name).read_bytes()
                    with archive.open(zipfile.ZipInfo(name, LONG_AGO), "w", force_zip64=True) as entry:
                        entry.write(content)
                    done += 1
                    on_file(done, total)
            archive.comment = json.dumps({"ome": about}).encode()

    with writing(target):
        write_atomically(target, write)
    return total


def _is_metadata(name: str) -> bool:
    return name.rpartition("/")[2] == METADATA


def _files(store: Place) -> Iterator[str]:
    """All files but hidden ones; `InputError` on a web server."""
    files = files_below(store)
    if files is None:
        raise InputError(
            f"{store}: a web server does not list its files, so the store cannot be copied into a zip archive; "
            "download the store first"
        )
    return (name for name in files if not any(part.startswith(".") for part in name.split("/")))
