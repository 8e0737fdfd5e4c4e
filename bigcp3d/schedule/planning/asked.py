"""What the user said, for the plan: it explains a run later, and no label depends on it."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Any

from bigcp3d.edge.stores.zarr_write import plain_json
from bigcp3d.schedule.planning.request import Request
from bigcp3d.work.plan.plan import Asked

MACHINES = ("executor", "scheduler", "cluster", "cluster_config", "workers", "tls", "memory_limit")
FILES = ("source", "output", "name", "table", "work_dir", "overwrite", "keep_maps", "on_error")
"""Options that may be others when a run is carried on, or that the plan holds as they are."""

UNITS = {"_um": "um", "_vox": "voxels"}


def what_was_asked(request: Request) -> Asked:
    """The settings that were given, and the model."""
    settings = {
        option.name: getattr(request, option.name)
        for option in dataclasses.fields(request)
        if option.name not in (*MACHINES, *FILES)
    }
    defaults = {option.name: option.default for option in dataclasses.fields(request)}
    given = {name: value for name, value in settings.items() if value != defaults[name] or name == "model"}
    return Asked(command=_command_line(), settings=dict(_with_unit(*item) for item in given.items()))


def _with_unit(name: str, value: Any) -> tuple[str, Any]:
    """``("diameter", "6 um")`` for ``("diameter_um", 6.0)``."""
    for ending, unit in UNITS.items():
        if name.endswith(ending):
            numbers = value if isinstance(value, tuple | list) else [value]
            return name.removesuffix(ending), " ".join([*(f"{number:g}" for number in numbers), unit])
    return name, str(value) if isinstance(value, Path) else plain_json(value)


def _command_line() -> str:
    """That of this process, where it is bigcp3d's."""
    program = Path(sys.argv[0])
    if program.stem == "bigcp3d" or program.parts[-2:] == ("bigcp3d", "__main__.py"):
        return shlex.join(["bigcp3d", *sys.argv[1:]])
    return "from Python"
