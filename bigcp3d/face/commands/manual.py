"""``bigcp3d manual``: prints every command and option as Markdown, from the code that runs them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bigcp3d.errors import InputError


def manual(
    context: typer.Context,
    command: Annotated[str | None, typer.Argument(help="One command. Default: all of them.")] = None,
) -> None:
    """Print what every command and option does, its units and its default, as Markdown."""
    from typer.cli import get_docs_for_click

    root: Any = context.find_root().command
    chosen, name = root, "bigcp3d"
    if command is not None:
        if command not in root.commands:
            raise InputError(f"found command {command!r}; allowed are {', '.join(root.commands)}")
        chosen, name = root.commands[command], f"bigcp3d {command}"
    typer.echo(get_docs_for_click(obj=chosen, ctx=context, name=name).rstrip())
