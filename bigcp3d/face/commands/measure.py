"""``bigcp3d measure``: measures cells by `bigcp3d.measure`, and says in a line what was found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.schedule.planning.measure_request import MeasureRequest

if TYPE_CHECKING:
    from bigcp3d.schedule.measure import MeasuredCells

SETTINGS = [
    replace(each, default="zarr") if each.name == "output" else each for each in o.choose_settings(MeasureRequest)
]
"""Without a word about it, the command writes into the store, and the Python function nowhere."""


@o.with_options(SETTINGS)
def measure(arguments: o.Arguments, verbose: o.Verbose = False, quiet: o.Quiet = False) -> None:
    """Measure every cell of labels: a table with one row a cell, exact whatever the blocks.

    Volume, centroid, box, surface, principal axes, elongation, neighbours, border, mean and spread of each channel.
    Memory grows with the cells, not with the voxels.
    """
    set_up_logging(verbose, quiet)
    from bigcp3d.face.progress.block_bar import BlockBar
    from bigcp3d.schedule.measure import measure as run

    with BlockBar("measuring", quiet) as bar:
        cells = run(**arguments, on_event=bar)
    typer.echo(describe_cells(cells, arguments["output"]))


def describe_cells(cells: MeasuredCells, output: str) -> str:
    """A line for people."""
    import numpy as np

    from bigcp3d.edge.cell_tables.label_table import table_path

    where = table_path(cells.what.labels) if output == "zarr" else output
    if not len(cells):
        return f"{where}: no cells"
    unit = "um" if "volume_um3" in cells.columns else "vox"
    whole = ~cells.columns["touches_border"].astype(bool)
    low, middle, high = np.percentile(cells.columns[f"equivalent_diameter_{unit}"].astype(float), [10, 50, 90])
    word = "micrometres" if unit == "um" else "voxels"
    return (
        f"{where}: {len(cells):,} cells, {int(whole.sum()):,} of them whole; {len(cells.columns)} columns; "
        f"diameter {middle:.3g} {word} (median; 10 to 90 %: {low:.3g} to {high:.3g})"
    )
