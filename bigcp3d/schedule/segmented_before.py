"""Tells whether the labels that a user asks for are there already, made with the same settings.

A command that replaces the labels of many images notes when it began. If it is stopped, the same command goes on from
there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from bigcp3d.edge.image.metadata import first_multiscale, own_part
from bigcp3d.edge.image.open_node import read_attributes
from bigcp3d.edge.stores.atomic_files import write_json
from bigcp3d.edge.stores.places import place
from bigcp3d.edge.stores.zarr_write import plain_json
from bigcp3d.errors import InputError
from bigcp3d.schedule.planning.asked import what_was_asked
from bigcp3d.schedule.planning.request import Request
from bigcp3d.work.run.work_dir import default_work_dir

ESTIMATED = ("model", "diameter_um")
"""Settings that are in the record though nobody gave them, because they were estimated."""

PLACE = ("roi", "labels_level")
"""Settings that say which part is labelled."""


@contextmanager
def replacing_all(request: Request) -> Iterator[str]:
    """Give the time (ISO 8601) since which labels of many images are replaced.

    It is that of an earlier command with the same settings, if that one was stopped or an image failed.
    """
    work = default_work_dir(str(request.output or request.source), request.name)
    note, asked = work.with_name(f"{work.name}.replacing.json"), plain_json(what_was_asked(request).arguments)
    began = {"since": datetime.now(UTC).isoformat(timespec="milliseconds"), "arguments": asked}
    with suppress(OSError, ValueError):
        noted = json.loads(note.read_text(encoding="utf-8"))
        began = noted if noted["arguments"] == asked else began
    write_json(note, began)
    yield began["since"]
    note.unlink()
    with suppress(OSError):  # work directories of other runs lie there too
        note.parent.rmdir()


def segmented_before(request: Request, since: str = "") -> bool:
    """Whether finished labels of this name were made with the settings of a request.

    With ``overwrite``, only labels that were made after ``since`` count, and none without it. What is left open may
    have been estimated then.
    """
    where = place(request.source if request.output is None else request.output) / "labels" / request.name
    try:
        attributes = read_attributes(where)
    except InputError:
        return False
    made = own_part(attributes)
    recorded, settings = made.get("arguments"), made.get("asked") or {}
    replaced = bool(since) and str(made.get("made")) > since
    if (request.overwrite and not replaced) or recorded is None or first_multiscale(attributes, str(where)) is None:
        return False
    asked = what_was_asked(request)
    if any(settings.get(name) != plain_json(asked.settings.get(name)) for name in PLACE):
        return False
    given = {name: value for name, value in plain_json(asked.arguments).items() if value is not None}
    left_open = set(ESTIMATED) - set(given)
    return given == {name: value for name, value in recorded.items() if name not in left_open and value is not None}
