"""Error messages and exit codes of the commands.

An error of bigcp3d is one message on stderr, with its traceback only under ``--verbose``. Errors of any other kind are
bugs, and keep their traceback.

======  ================================================
code    meaning
======  ================================================
0       done
1       a bug: an error of another kind, with its traceback
2       the command line, the image or a parameter cannot be used; nothing was written
3       the place to write to exists already, cannot be written, or is full
4       some blocks failed; the rest is kept, the same command carries on
130     interrupted (Ctrl-C); `segment` and `update` are carried on by the same command
======  ================================================
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from bigcp3d.errors import BigCP3DError

INTERRUPTED = 130
UNFORESEEN = 1
CARRIES_ON = {
    "segment": "; finished blocks are kept, and the same command carries on from there",
    "update": "; finished blocks are kept, and the same command carries on from there",
    "train": "; --resume goes on from the last checkpoint",
}
"""Commands that go on after Ctrl-C; all others begin anew."""
logger = logging.getLogger("bigcp3d")


def exit_code_of(error: BaseException) -> int:
    """The code with which a command ends."""
    if isinstance(error, BigCP3DError):
        return error.exit_code
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else UNFORESEEN


class Failing(TyperGroup):
    """A group of commands whose errors become messages and exit codes."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; an error ends it with its own exit code, Ctrl-C with 130."""
        try:
            return super().invoke(ctx)
        except BigCP3DError as error:
            _say(f"{type(error).__name__}: {error}")
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            _say(f"interrupted{CARRIES_ON.get(ctx.invoked_subcommand, '')}")
            raise typer.Exit(INTERRUPTED) from error


def _say(message: str) -> None:
    """Write a message, and under ``--verbose`` the traceback of the error being handled before it, to stderr."""
    if logger.isEnabledFor(logging.DEBUG):
        traceback.print_exc(file=sys.stderr)
    typer.echo(f"bigcp3d: {message}", err=True)


def set_up_logging(verbose: bool, quiet: bool, usual: int = logging.WARNING) -> None:
    """Show the library's log on stderr, from the level ``usual`` on; all of it, or only errors, where asked."""
    from rich.console import Console
    from rich.logging import RichHandler

    for handler in [h for h in logger.handlers if isinstance(h, RichHandler)]:
        logger.removeHandler(handler)
    logger.addHandler(RichHandler(console=Console(stderr=True), show_time=verbose, show_path=verbose))
    logger.setLevel(logging.DEBUG if verbose else logging.ERROR if quiet else usual)
