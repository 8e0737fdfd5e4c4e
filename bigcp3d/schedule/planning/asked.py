"""Keeps what the user asked for in the plan. It explains a run later, and no label depends on it."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from bigcp3d.edge.models.model_families import find_model
from bigcp3d.edge.stores.places import place
from bigcp3d.edge.stores.platforms import join_words
from bigcp3d.edge.stores.zarr_write import plain_json
from bigcp3d.errors import ModelError
from bigcp3d.option import settings_of
from bigcp3d.schedule.planning.request import Request, decides_labels
from bigcp3d.work.plan.sections import Asked

UNITS = {"_um": "um", "_vox": "voxels"}


def what_was_asked(request: Request) -> Asked:
    """The command line, the model, and the settings that are not the defaults, or were estimated in their place.

    In words, for people, and the settings that decide the labels also as Python's arguments, for a later update.
    """
    settings, arguments = {}, {}
    for each in settings_of(type(request)).values():
        value = getattr(request, each.name)
        if each.option.asked and (value != each.default or each.name == "model"):
            name, words = with_unit(each.name, value)
            settings[name] = words
            if decides_labels(each):
                arguments[each.name] = as_argument(each.name, value)
    return Asked(command=_command_line(), settings=settings, arguments=arguments)


def as_argument(name: str, value: Any) -> Any:
    """A setting as JSON. Files and stores get their full path, so that it is valid in other folders too."""
    if name in ("mask", "maps") and value is not None:
        return str(place(value))
    if name == "model" and value is not None:
        family, _, file = str(value).partition(":")
        with suppress(ModelError):  # maps may be given for a model whose file is not here
            found = find_model(value).resolve()
            for start, name in (("", str(value)), (f"{family}:", file)):
                if found == Path(name).expanduser().resolve():
                    return f"{start}{place(name)}"
    return str(value) if isinstance(value, Path) else plain_json(value)


def with_unit(name: str, value: Any) -> tuple[str, Any]:
    """``("diameter", "6 um")`` for ``("diameter_um", 6.0)``."""
    for ending, unit in UNITS.items():
        if name.endswith(ending):
            short, numbers = name.removesuffix(ending), value if isinstance(value, tuple | list) else [value]
            return short, value if isinstance(value, str) else " ".join([*(f"{number:g}" for number in numbers), unit])
    return name, str(value) if isinstance(value, Path) else plain_json(value)


def _command_line() -> str:
    """The command line of this process, if it is that of bigcp3d."""
    program = Path(sys.argv[0])
    if program.stem == "bigcp3d" or program.parts[-2:] == ("bigcp3d", "__main__.py"):
        return join_words(["bigcp3d", *sys.argv[1:]])
    return "from Python"
