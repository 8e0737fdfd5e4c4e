"""``bigcp3d measure``: the way from the options to `bigcp3d.schedule.measure.measure`, and a word on the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging

if TYPE_CHECKING:
    from bigcp3d.schedule.measure import CellTable

WHAT = "What is measured"


def measure(
    store: Annotated[
        Path, typer.Argument(metavar="STORE", help="OME-Zarr image with labels, a labels group, or one labels image.")
    ],
    name: Annotated[str, o.option("--name", panel=WHAT, text="Which labels: labels/NAME; of any tool.")] = "cells",
    image: Annotated[
        Path | None,
        o.option(
            "--image",
            panel=WHAT,
            metavar="IN.zarr",
            text="Whose intensities are measured. Default: the image that the labels belong to.",
        ),
    ] = None,
    channel: Annotated[
        list[str] | None,
        o.option("--channel", panel=WHAT, metavar="N", text="Channel, from 0, or its name; may be given often. All."),
    ] = None,
    output: Annotated[
        str,
        o.option(
            "--output",
            panel=o.RESULT,
            metavar="FILE|zarr",
            text="FILE.csv, FILE.parquet, or zarr: AnnData in STORE/tables/NAME, for ngio, anndata and SpatialData.",
        ),
    ] = "zarr",
    overwrite: Annotated[bool, o.option("--overwrite", panel=o.RESULT, text="Replace a table that is there.")] = False,
    work_dir: Annotated[
        Path | None,
        o.option(
            "--work-dir",
            panel=WHAT,
            metavar="DIR",
            text="What a run with --keep-maps left: adds the mean predicted foreground, and the flow error where "
            "it was checked.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        o.option("--workers", panel=o.MACHINE, metavar="N", text="Worker processes. Default: this process alone."),
    ] = None,
    memory_limit: o.MemoryLimit = None,
    scheduler: o.Scheduler = None,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
) -> None:
    """Measure every cell of labels: a table with one row a cell, exact whatever the blocks.

    Volume, centroid, box, surface, principal axes, elongation, neighbours, border, mean and spread of each channel.
    Memory grows with the cells, not with the voxels.
    """
    set_up_logging(verbose, quiet)
    from bigcp3d.face.progress.block_bar import BlockBar
    from bigcp3d.schedule.measure import measure as run

    with BlockBar("measuring", quiet) as bar:
        table = run(
            store,
            name,
            output=output,
            image=image,
            channels=o.read_channels(channel),
            work_dir=work_dir,
            workers=workers,
            scheduler=scheduler,
            memory_limit=memory_limit,
            overwrite=overwrite,
            on_block=bar,
        )
    typer.echo(describe_table(table, output))


def describe_table(table: CellTable, output: str) -> str:
    """A line for people."""
    import numpy as np

    from bigcp3d.edge.cell_tables.label_table import table_path

    where = table_path(table.what.labels) if output == "zarr" else output
    if not len(table):
        return f"{where}: no cells"
    unit = "um" if "volume_um3" in table.columns else "vox"
    whole = ~table.columns["touches_border"].astype(bool)
    low, middle, high = np.percentile(table.columns[f"equivalent_diameter_{unit}"].astype(float), [10, 50, 90])
    word = "micrometres" if unit == "um" else "voxels"
    return (
        f"{where}: {len(table):,} cells, {int(whole.sum()):,} of them whole; {len(table.columns)} columns; "
        f"diameter {middle:.3g} {word} (median; 10 to 90 %: {low:.3g} to {high:.3g})"
    )
