"""Writes and reads records: a small JSON file says that a task is done, and what it counted.

::

    <folder>/<pass>/<z>.<y>.<x>.json        {"sha256": ..., "data": {...}, "spent": {...}}

A task writes its record last. A damaged record counts as none, so the task runs again. ``data`` is what the task
counted, the same on every worker; ``spent`` is how it ran (time, worker, memory), and no result depends on it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from bigcp3d.edge.stores.atomic_files import create_atomically, write_bytes
from bigcp3d.edge.stores.zarr_write import plain_json
from bigcp3d.pure.boxes import Vec3, vec3
from bigcp3d.pure.read_ahead import THREADS, read_each

log = logging.getLogger(__name__)

RECORD = re.compile(r"(\d+)\.(\d+)\.(\d+)\.json")


def _path(folder: str | Path, pass_name: str, index: Vec3) -> str:
    return f"{folder}/{pass_name}/{'.'.join(map(str, index))}.json"


def _digest(data: dict[str, Any], spent: dict[str, Any] | None) -> str:
    signed = data if spent is None else [data, spent]
    return hashlib.sha256(json.dumps(signed, sort_keys=True).encode()).hexdigest()


def _encode(data: dict[str, Any], spent: dict[str, Any] | None = None) -> bytes:
    data, spent = plain_json(data), plain_json(spent)
    more = {} if spent is None else {"spent": spent}
    return json.dumps({"sha256": _digest(data, spent), "data": data, **more}).encode()


def write_record(
    folder: str | Path, pass_name: str, index: Vec3, data: dict[str, Any], spent: dict[str, Any] | None = None
) -> None:
    """Write the record of a task that is done."""
    content = _encode(data, spent)
    write_bytes(_path(folder, pass_name, index), content)


def claim_record(folder: str | Path, pass_name: str, index: Vec3, data: dict[str, Any]) -> dict[str, Any]:
    """Write a record unless there is one, and return what it says. Of several that try at once, one succeeds."""
    if (found := read_record(folder, pass_name, index)) is not None:
        return found
    create_atomically(_path(folder, pass_name, index), lambda file: file.write(_encode(data)))
    return read_record(folder, pass_name, index) or data


def read_record(folder: str | Path, pass_name: str, index: Vec3) -> dict[str, Any] | None:
    """What a task counted; None where there is no undamaged record."""
    found = read_whole_record(folder, pass_name, index)
    return None if found is None else found[0]


def read_whole_record(folder: str | Path, pass_name: str, index: Vec3) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """What a task counted, and how it ran (empty where not recorded); None where there is no undamaged record."""
    path = _path(folder, pass_name, index)
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read())
        data, spent = content["data"], content.get("spent")
        if content["sha256"] == _digest(data, spent):
            return data, spent or {}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError):
        pass
    log.warning("%s: the record is damaged; its task runs again", path)
    return None


def read_records(folder: str | Path, pass_name: str) -> Iterator[tuple[Vec3, dict[str, Any], dict[str, Any]]]:
    """Blocks of a pass with an undamaged record, in any order, each with its data and spent; none of them is kept."""

    def read(index: Vec3) -> tuple[Vec3, tuple[dict[str, Any], dict[str, Any]] | None]:
        return index, read_whole_record(folder, pass_name, index)

    for index, found in read_each(read, _visit_files(Path(folder) / pass_name), threads=THREADS):
        if found is not None:
            yield index, *found


def _visit_files(folder: Path) -> Iterator[Vec3]:
    """Blocks with a record, damaged or not; a large run has millions."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if found := RECORD.fullmatch(entry.name):
                yield vec3(map(int, found.groups()))


def list_passes(folder: str | Path) -> list[str]:
    """Passes with a folder of records."""
    return sorted(path.name for path in Path(folder).glob("*") if path.is_dir())
