"""Records: a small JSON file says that one task is done, and what it counted.

::

    <folder>/<pass>/<z>.<y>.<x>.json        {"sha256": ..., "data": {...}}

A record is written after all that it stands for. It counts only when it is whole: one that is torn, edited or
unreadable is as good as none, so the task runs again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from bigcp3d.edge.stores import plain_json
from bigcp3d.edge.tables import write_atomically
from bigcp3d.pure.boxes import Vec3, vec3

log = logging.getLogger(__name__)


def _path(folder: str | Path, pass_name: str, index: Vec3) -> str:
    return f"{folder}/{pass_name}/{'.'.join(map(str, index))}.json"


def _digest(data: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def write_record(folder: str | Path, pass_name: str, index: Vec3, data: dict[str, Any]) -> None:
    """Say that a task is done.

    Parameters
    ----------
    folder : str or Path
        Of all records.
    pass_name : str
        ``"track"``, ``"pyramid1"``.
    index : tuple of int
        The block.
    data : dict
        What JSON can hold; numpy numbers become Python's.
    """
    data = plain_json(data)
    text = json.dumps({"sha256": _digest(data), "data": data})
    write_atomically(_path(folder, pass_name, index), lambda file: file.write(text.encode()))


def claim_record(folder: str | Path, pass_name: str, index: Vec3, data: dict[str, Any]) -> dict[str, Any]:
    """Write a record unless there is one; what it says then. Of several that try at once, one succeeds."""
    if (found := read_record(folder, pass_name, index)) is not None:
        return found
    own = f"{pass_name}.{uuid4().hex}"
    write_record(folder, own, index, data)
    mine, shared = Path(_path(folder, own, index)), Path(_path(folder, pass_name, index))
    shared.parent.mkdir(parents=True, exist_ok=True)
    try:
        with suppress(FileExistsError):
            os.link(mine, shared)
    finally:
        shutil.rmtree(mine.parent, ignore_errors=True)
    return read_record(folder, pass_name, index) or data


def read_record(folder: str | Path, pass_name: str, index: Vec3) -> dict[str, Any] | None:
    """What a task's record says; None where there is none, or none that is whole."""
    path = _path(folder, pass_name, index)
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read())
        data: dict[str, Any] = content["data"]
        if content["sha256"] == _digest(data):
            return data
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        pass
    log.warning("%s: the record is damaged; its task runs again", path)
    return None


def list_records(folder: str | Path, pass_name: str) -> list[Vec3]:
    """Blocks of a pass that have a whole record, in raster order."""
    names = (path.stem.split(".") for path in (Path(folder) / pass_name).glob("*.json"))
    found = sorted(vec3(name) for name in names if len(name) == 3 and all(part.isdecimal() for part in name))
    return [index for index in found if read_record(folder, pass_name, index) is not None]
