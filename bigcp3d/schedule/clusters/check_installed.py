"""Checks that the packages and commands that a cluster needs are installed."""

from __future__ import annotations

import importlib.util
import shutil

from bigcp3d.errors import InputError

EXTRA_OF = {"dask_jobqueue": "jobqueue", "asyncssh": "ssh"}


def require(module: str, kind: str) -> None:
    """Raise an `InputError` if a package is not installed, with the command that installs it."""
    if importlib.util.find_spec(module) is None:
        raise InputError(
            f"cluster {kind} needs the package {module.replace('_', '-')}, which is not installed; "
            f"pip install 'bigcp3d[{EXTRA_OF[module]}]'"
        )


def require_command(command: str, kind: str) -> None:
    """Raise an `InputError` if a command of a queue is not installed."""
    if shutil.which(command) is None:
        raise InputError(
            f"cluster {kind} needs the command {command}, which is not on this machine's PATH; run bigcp3d where jobs "
            "are submitted, or start workers by hand and give --scheduler"
        )
