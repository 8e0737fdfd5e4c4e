"""Tells whether the labels that a user asks for are there already, made with the same settings."""

from __future__ import annotations

import json
from typing import Any

from bigcp3d.edge.image.metadata import first_multiscale, own_part
from bigcp3d.edge.image.open_node import read_attributes
from bigcp3d.edge.stores.places import place
from bigcp3d.errors import InputError
from bigcp3d.schedule.planning.asked import what_was_asked
from bigcp3d.schedule.planning.request import Request

ESTIMATED = ("model", "diameter_um")
"""Settings that are in the record though nobody gave them, because they were estimated."""

PLACE = ("roi", "labels_level")
"""Settings that say which part is labelled."""


def segmented_before(request: Request) -> bool:
    """Whether finished labels of this name were made with the settings of a request. With ``overwrite``, never.

    What is left open may have been estimated then.
    """
    where = place(request.source if request.output is None else request.output) / "labels" / request.name
    try:
        attributes = read_attributes(where)
    except InputError:
        return False
    made = own_part(attributes)
    recorded, settings = made.get("arguments"), made.get("asked") or {}
    if request.overwrite or recorded is None or first_multiscale(attributes, str(where)) is None:
        return False
    asked = what_was_asked(request)
    if any(settings.get(name) != _plain(asked.settings.get(name)) for name in PLACE):
        return False
    given = {name: value for name, value in _plain(asked.arguments).items() if value is not None}
    left_open = set(ESTIMATED) - set(given)
    return given == {name: value for name, value in recorded.items() if name not in left_open and value is not None}


def _plain(value: Any) -> Any:
    """A value as it comes back from JSON."""
    return json.loads(json.dumps(value))
