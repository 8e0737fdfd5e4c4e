"""``bigcp3d measure``: measures the cells of labels, and prints a summary in one line."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.pure.plural import count
from bigcp3d.schedule.planning.measure_request import MeasureRequest

if TYPE_CHECKING:
    from bigcp3d.schedule.measure import MeasuredCells

SETTINGS = [
    replace(each, default="zarr") if each.name == "output" else each for each in o.choose_settings(MeasureRequest)
]
"""By default, the command writes a table into the store, and the Python function writes none."""


@o.with_options(SETTINGS)
def measure(arguments: o.Arguments, verbose: o.Verbose = False, quiet: o.Quiet = False) -> None:
    """Measure every cell of labels, and write a table with one row for each cell.

    Columns: volume, centroid, bounding box, surface, principal axes, elongation, neighbours, border, mean and spread of
    each channel. The blocks change no number. Memory grows with the number of cells, not of voxels.
    """
    set_up_logging(verbose, quiet)
    from bigcp3d.face.progress.block_bar import block_bar
    from bigcp3d.schedule.measure import measure as run

    with block_bar("measuring", quiet) as move_bar:
        cells = run(**arguments, on_event=move_bar)
    typer.echo(describe_cells(cells, arguments["output"]))


def describe_cells(cells: MeasuredCells, output: str) -> str:
    """The number of cells, how many are whole, and their diameters, in a line."""
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
        f"{where}: {count(len(cells), 'cell')}, {int(whole.sum()):,} of them whole; {len(cells.columns)} columns; "
        f"diameter {middle:.3g} {word} (median; 10 to 90 %: {low:.3g} to {high:.3g})"
    )
