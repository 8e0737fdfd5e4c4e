"""``bigcp3d manual``: prints every command and option as Markdown, from the code that runs them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bigcp3d.errors import InputError


def manual(
    context: typer.Context,
    command: Annotated[
        str | None, typer.Argument(metavar="COMMAND", help="One command. Default: all commands.")
    ] = None,
) -> None:
    """Print the help of every command as Markdown: options, units and defaults."""
    from typer.cli import get_docs_for_click

    root: Any = context.find_root().command
    chosen, name = root, "bigcp3d"
    if command is not None:
        if command not in root.commands:
            raise InputError(f"there is no command {command!r}; use one of {', '.join(root.commands)}")
        chosen, name = root.commands[command], f"bigcp3d {command}"
    typer.echo(get_docs_for_click(obj=chosen, ctx=context, name=name).rstrip())
