"""``bigcp3d report``: writes the report of labels that are in a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bigcp3d.edge.labels.default_name import DEFAULT_NAME
from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.face.taken_labels import tell_labels


def report(
    store: Annotated[str, typer.Argument(metavar="STORE.zarr", help="Image with labels, or a store of labels.")],
    name: o.LabelsName = DEFAULT_NAME,
    output: Annotated[
        Path | None,
        o.option(
            "--output",
            metavar="FILE.html",
            text="The file to write. Default: STORE.NAME.report.html beside the store; for an address "
            "BUCKET-STORE.NAME.report.html in the current folder.",
        ),
    ] = None,
    image: o.ImageOfLabels = None,
    verbose: o.Verbose = False,
) -> None:
    """Write the report of labels as one HTML file: slices, cells, volumes, time and memory.

    `segment` writes one at the end of each run. This command makes the report again from the labels. It also works for
    labels of other tools; their report lacks times and settings.
    """
    set_up_logging(verbose, quiet=False)
    from bigcp3d.face.report.write import write_report

    tell_labels(store, name)
    typer.echo(f"report: {write_report(store, name, output=output, image=image)}")
