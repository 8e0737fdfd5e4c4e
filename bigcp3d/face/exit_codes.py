"""Error messages and exit codes of the commands.

An error of bigcp3d is one message on stderr; ``--verbose`` adds its traceback. All other errors are bugs, and always
show their traceback.

======  =========================================================================================================
code    meaning
======  =========================================================================================================
0       done
1       a bug: an error of another kind, with its traceback
2       the command line, the image or a parameter cannot be used; most such errors come before anything is written
3       the place to write to exists already, cannot be written, is full, or is in use by another command; or an update
        or an undo was refused because it would lose cells or corrections
4       some blocks failed; the rest is kept, and the same command continues the run
130     interrupted (Ctrl-C); the same command continues `segment`, `update` and `convert`; `train` needs `--resume`
======  =========================================================================================================
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from bigcp3d.edge.stores.full_disk import FULL
from bigcp3d.errors import BigCP3DError, FullDiskError

INTERRUPTED = 130
BUG = 1
CARRIES_ON = {
    "convert": "; what was written is kept, and the same command continues from there",
    "segment": "; finished blocks are kept, and the same command continues from there",
    "update": "; finished blocks are kept, and the same command continues from there",
    "train": "; --resume continues from the last checkpoint",
}
"""What Ctrl-C says of commands that can be carried on. All others begin again."""
logger = logging.getLogger("bigcp3d")


def exit_code_of(error: BaseException) -> int:
    """The code with which a command ends."""
    if isinstance(error, BigCP3DError):
        return error.exit_code
    if isinstance(error, OSError) and error.errno in FULL:
        return FullDiskError.exit_code
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else BUG


class CommandGroup(TyperGroup):
    """The commands. Their errors become messages and exit codes."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except (BigCP3DError, KeyboardInterrupt, OSError) as error:
            if not isinstance(error, BigCP3DError | KeyboardInterrupt) and error.errno not in FULL:
                raise
            carries_on = CARRIES_ON.get(ctx.invoked_subcommand, "")
            if isinstance(error, BigCP3DError):
                _say(f"{type(error).__name__}: {error}")
            elif isinstance(error, KeyboardInterrupt):
                _say(f"interrupted{carries_on}")
            else:
                at = f" of {error.filename}" if error.filename else ""
                _say(f"the disk{at} is full ({error.strerror}); free space on it{carries_on}")
            raise typer.Exit(exit_code_of(error)) from error


def _say(message: str) -> None:
    """Write a message to stderr; under ``--verbose``, the traceback of the current error comes before it."""
    if logger.isEnabledFor(logging.DEBUG):
        traceback.print_exc(file=sys.stderr)
    typer.echo(f"bigcp3d: {message}", err=True)


class _Once(logging.Filter):
    """Lets a warning through once, though several steps of a command open the same store."""

    def __init__(self) -> None:
        super().__init__()
        self.told: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the text was not told yet."""
        if record.levelno < logging.WARNING:
            return True
        text = record.getMessage()
        new = text not in self.told
        self.told.add(text)
        return new


def set_up_logging(verbose: bool, quiet: bool, usual: int = logging.WARNING) -> None:
    """Show the library's log on stderr: from level ``usual`` on, all if ``verbose``, only errors if ``quiet``."""
    from rich.console import Console
    from rich.logging import RichHandler

    for handler in [h for h in logger.handlers if isinstance(h, RichHandler)]:
        logger.removeHandler(handler)
    handler = RichHandler(console=Console(stderr=True), show_time=verbose, show_path=verbose)
    handler.addFilter(_Once())
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose else logging.ERROR if quiet else usual)
