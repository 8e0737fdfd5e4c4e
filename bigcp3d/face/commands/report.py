"""``bigcp3d report``: writes the report of labels from what is in the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging


def report(
    store: Annotated[str, typer.Argument(metavar="STORE.zarr", help="Image with labels, or a store of labels.")],
    name: Annotated[str, typer.Option("--name", help="Name of the labels: labels/NAME.")] = "cells",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE.html",
            help="Default: STORE.NAME.report.html beside the store; for an address here, as "
            "BUCKET-STORE.NAME.report.html.",
        ),
    ] = None,
    image: o.ImageOfLabels = None,
    verbose: o.Verbose = False,
) -> None:
    """Write the report of labels as one HTML file: slices, cells, volumes, time and memory.

    `segment` writes one for each run. This makes it again from the labels, which are read once, block by block; and it
    does so for labels of any other tool, where it knows nothing of time and parameters.
    """
    set_up_logging(verbose, quiet=False)
    from bigcp3d.face.report.write import write_report

    typer.echo(f"report: {write_report(store, name, output=output, image=image)}")
