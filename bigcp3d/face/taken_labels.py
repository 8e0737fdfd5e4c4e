"""Tells which labels of a store a command takes, if the user named none and there are several."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import typer

from bigcp3d.edge.labels.default_name import DEFAULT_NAME
from bigcp3d.errors import InputError


def tell_labels(store: str | Path, name: str, *, quiet: bool = False) -> None:
    """Say that the labels "cells" are used, and which others there are. Says nothing about a wrong store."""
    if quiet or name != DEFAULT_NAME:
        return
    from bigcp3d.edge.image.image import open_image

    with suppress(InputError):
        names = open_image(store).label_names
        if name in names and len(names) > 1:
            others = ", ".join(other for other in names if other != name)
            typer.echo(f"using the labels {name!r}; for others ({others}), give --name", err=True)
