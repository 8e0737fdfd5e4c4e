"""``bigcp3d evaluate``: labels against the truth, as a table on the screen, and as CSV, JSON and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bigcp3d.errors import InputError
from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.work.analyse.evaluate_settings import EvaluateSettings

if TYPE_CHECKING:
    from rich.table import Table

    from bigcp3d.pure.score.metrics import Number
    from bigcp3d.work.analyse.evaluate import Evaluation

FILES = "What is written"
PICTURES = (".png", ".pdf", ".svg")
SHOWN = {
    "true_cells": "true cells",
    "found_cells": "found cells",
    "mean_dice": "Dice, mean",
    "median_dice": "Dice, median",
    "dice_q1": "Dice, lower quartile",
    "dice_q3": "Dice, upper quartile",
    "ap50": "AP at IoU 0.5",
    "precision": "precision at IoU 0.5",
    "recall": "recall at IoU 0.5",
    "f1": "F1 at IoU 0.5",
    "seg": "SEG",
    "adapted_rand_error": "adapted Rand error",
    "voi_split": "VOI split (bits)",
    "voi_merge": "VOI merge (bits)",
    "foreground_dice": "foreground Dice",
}


@o.with_options(o.choose_settings(EvaluateSettings))
def evaluate(
    arguments: o.Arguments,
    csv_file: Annotated[
        Path | None, o.option("--csv", panel=FILES, metavar="FILE", text="One row for each true cell.")
    ] = None,
    json_file: Annotated[
        Path | None, o.option("--json", panel=FILES, metavar="FILE", text="All numbers, at IoU 0.1 to 0.9.")
    ] = None,
    picture: Annotated[
        Path | None,
        o.option(
            "--picture",
            panel=FILES,
            metavar="FILE.png",
            text="Box plot of Dice, AP against IoU, Dice against cell volume.",
        ),
    ] = None,
    overwrite: Annotated[bool, o.option("--overwrite", panel=FILES, text="Replace files that are there.")] = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
) -> None:
    """Compare labels with the truth, block by block, whatever their size.

    Dice of each true cell with the found cell that shares most voxels with it (0 where none does), and AP =
    TP / (TP + FP + FN) of one-to-one matches. Memory grows with the cells, not with the voxels.
    """
    set_up_logging(verbose, quiet)
    from bigcp3d.edge.stores.check_writable import check_file

    for file in (csv_file, json_file, picture):
        if file is not None:
            check_file(file, overwrite=overwrite)
    if picture is not None and picture.suffix.lower() not in PICTURES:
        raise InputError(f"--picture {picture}: found '{picture.suffix}'; allowed are {', '.join(PICTURES)}; rename it")
    import json

    from bigcp3d.edge.stores.atomic_files import write_atomically
    from bigcp3d.edge.stores.zarr_write import writing
    from bigcp3d.face.progress.block_bar import BlockBar
    from bigcp3d.work.analyse.evaluate import evaluate as run

    with BlockBar("comparing", quiet) as bar:
        done = run(**arguments, on_event=bar)
    show(done)
    if csv_file is not None:
        from bigcp3d.edge.cell_tables.cell_files import write_cell_list

        with writing(csv_file):
            write_cell_list(csv_file, done.columns())
    if json_file is not None:
        text = json.dumps(done.as_json(), indent=2) + "\n"
        with writing(json_file):
            write_atomically(json_file, lambda file: file.write(text.encode()))
    if picture is not None:
        from bigcp3d.face.pictures.evaluate_picture import draw_evaluation

        with writing(picture):
            draw_evaluation(done, picture, "{pred} ({pred_name}) against {truth} ({truth_name})".format_map(arguments))


def show(evaluation: Evaluation) -> None:
    """Print the numbers as tables."""
    from rich.console import Console

    console = Console()
    console.print(summary_table(evaluation))
    console.print(iou_table(evaluation))


def summary_table(evaluation: Evaluation) -> Table:
    """One row a number, one column a group of cells."""
    table = _table("", *evaluation.groups)
    for key, words in SHOWN.items():
        table.add_row(words, *(_in_words(scores.numbers[key]) for scores in evaluation.groups.values()))
    return table


def iou_table(evaluation: Evaluation) -> Table:
    """One row a threshold of IoU, of all cells."""
    columns = {"ap": "AP", "precision": "precision", "recall": "recall", "f1": "F1"}
    table = _table("IoU at least", *columns.values())
    for row in evaluation.whole.by_iou:
        table.add_row(f"{row['iou']}", *(_in_words(row[key]) for key in columns))
    return table


def _table(first: str, *others: str) -> Table:
    """An empty table with numbers on the right."""
    from rich import box
    from rich.table import Table

    table = Table(first, box=box.SIMPLE, pad_edge=False)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _in_words(value: Number) -> str:
    """A number with three digits after the point, a count with commas, a dash for none."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
