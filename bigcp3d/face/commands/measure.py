"""``bigcp3d measure``: measures the cells of labels, and prints a summary in one line."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bigcp3d.face import options as o
from bigcp3d.face.commands.all_images import AllImages, for_each_image, refuse_single, write_one_table
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.face.taken_labels import tell_labels
from bigcp3d.pure.plural import count
from bigcp3d.schedule.planning.measure_request import MeasureRequest

if TYPE_CHECKING:
    from bigcp3d.schedule.measure import MeasuredCells

DEFAULT = (
    "Default: zarr if anndata is installed and the store is no web server and no archive; else STORE.NAME.csv beside "
    "the store, or in the current folder for an address or an archive."
)
"""What the command does; the Python function writes no table by default."""
SETTINGS = [
    replace(each, option=replace(each.option, help=f"{each.option.help} {DEFAULT}")) if each.name == "output" else each
    for each in o.choose_settings(MeasureRequest)
]


@o.with_options(SETTINGS)
def measure(
    arguments: o.Arguments, all_images: AllImages = False, verbose: o.Verbose = False, quiet: o.Quiet = False
) -> None:
    """Measure every cell of labels, and write a table with one row for each cell.

    Columns: volume, centroid, bounding box, surface, principal axes, elongation, neighbours, border, mean and spread of
    each channel. The numbers do not depend on the blocks. Memory grows with the number of cells, not with the number of
    voxels.
    """
    set_up_logging(verbose, quiet)
    if all_images:
        measure_all(arguments, quiet)
        return
    tell_labels(arguments["store"], arguments["name"], quiet=quiet)
    arguments = {**arguments, "output": arguments["output"] or default_output(arguments)}
    typer.echo(describe_cells(_measure(arguments, quiet), arguments["output"]))


def measure_all(arguments: o.Arguments, quiet: bool) -> None:
    """Measure the labels of every image: into one file, or into each store."""
    from bigcp3d.schedule.check_table import check_output, in_file

    output, tables = arguments["output"], dict[str, "MeasuredCells"]()
    refuse_single([name for name in ("--image", "--work-dir") if arguments[name[2:].replace("-", "_")] is not None])
    if in_file(output):
        check_output(output, lambda: Path(output), overwrite=arguments["overwrite"])

    def run(image: str, name: str) -> None:
        own = {**arguments, "store": image, "output": None}
        if not in_file(output):
            own["output"] = output or default_output(own)
        cells = _measure(own, quiet)
        typer.echo(describe_cells(cells, own["output"] or image))
        if in_file(output):
            tables[name or image] = cells

    def write() -> None:
        if tables:
            typer.echo(write_one_table(tables, output))

    for_each_image(arguments["store"], quiet, run, then=write)


def default_output(arguments: o.Arguments) -> str:
    """Where the table goes if the user does not say: into the store, or into a file if that is not possible."""
    from bigcp3d.edge.image.image import open_labels
    from bigcp3d.edge.stores.places import place
    from bigcp3d.edge.stores.remote import Remote
    from bigcp3d.schedule.check_table import IN_STORE
    from bigcp3d.schedule.planning.file_of_labels import file_of_labels

    labels = open_labels(arguments["store"], arguments["name"]).path
    spot = place(labels)
    if importlib.util.find_spec("anndata") is not None and not (isinstance(spot, Remote) and spot.read_only):
        return IN_STORE
    return str(file_of_labels(labels, ".csv"))


def _measure(arguments: o.Arguments, quiet: bool) -> MeasuredCells:
    from bigcp3d.face.progress.block_bar import block_bar
    from bigcp3d.schedule.measure import measure as run

    with block_bar("measuring", quiet) as move_bar:
        return run(**arguments, on_event=move_bar)


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
