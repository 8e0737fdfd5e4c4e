"""The command line: ``bigcp3d COMMAND``. Each command calls one function of the library.

``--help`` imports neither torch nor dask nor zarr (a test checks this). Results go to stdout; progress, warnings and
errors to stderr. Exit codes: `bigcp3d.face.exit_codes`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from bigcp3d.face import options as o
from bigcp3d.face.commands.convert import convert
from bigcp3d.face.commands.demo import demo
from bigcp3d.face.commands.edit import edit
from bigcp3d.face.commands.estimate_diameter import estimate_diameter
from bigcp3d.face.commands.evaluate import evaluate
from bigcp3d.face.commands.export import export
from bigcp3d.face.commands.info import info
from bigcp3d.face.commands.link import link
from bigcp3d.face.commands.manual import manual
from bigcp3d.face.commands.measure import measure
from bigcp3d.face.commands.models import models
from bigcp3d.face.commands.report import report
from bigcp3d.face.commands.review import review
from bigcp3d.face.commands.segment import segment
from bigcp3d.face.commands.simulate import simulate
from bigcp3d.face.commands.status import status
from bigcp3d.face.commands.sweep import sweep
from bigcp3d.face.commands.train import train
from bigcp3d.face.commands.update import update
from bigcp3d.face.commands.view import view
from bigcp3d.face.exit_codes import CommandGroup
from bigcp3d.version import __version__

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,  # a plain traceback is best in a bug report
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bigcp3d {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, o.option("--version", text="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Segment every cell of a 3D microscopy image, even if it does not fit in memory.

    bigcp3d cuts the volume into blocks. The labels are the same, voxel for voxel, as from a run on the whole volume in
    one piece. The number of worker processes does not change them either.
    """


for each in (
    *(convert, segment, update, edit, review, sweep, demo, simulate, train, evaluate, status, view, measure),
    *(link, estimate_diameter, report, export, info),
):
    app.command()(each)
app.add_typer(models, name="models")
app.command()(manual)


def main() -> None:
    """Run the command line; the entry point of the installed ``bigcp3d``."""
    app(prog_name="bigcp3d")


if __name__ == "__main__":
    main()
