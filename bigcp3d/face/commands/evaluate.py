"""``bigcp3d evaluate``: compares labels with the truth; shows a table and writes CSV, JSON and a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigcp3d.errors import InputError
from bigcp3d.face import options as o
from bigcp3d.face.commands.all_images import AllImages, for_each_image, one_of_many, refuse_single
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
    false_csv: Annotated[
        Path | None,
        o.option(
            "--false-csv",
            panel=FILES,
            metavar="FILE",
            text="One row for each found cell that matches no true cell at an IoU of 0.5.",
        ),
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
            text="Draw Dice, AP, and Dice over cell volume into this picture.",
        ),
    ] = None,
    overwrite: Annotated[bool, o.option("--overwrite", panel=FILES, text="Replace existing files.")] = False,
    all_images: AllImages = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
) -> None:
    """Compare labels with the truth, block by block, whatever their size.

    Each true cell is compared with the found cell that shares most voxels with it; the Dice score of a missed cell is
    0. AP is TP / (TP + FP + FN): the matched cells, divided by the sum of matched, false and missed cells. A cell
    matches at most one other. Memory grows with the number of cells, not with the number of voxels.
    """
    set_up_logging(verbose, quiet)
    from bigcp3d.edge.stores.check_writable import check_file
    from bigcp3d.edge.stores.places import same_place

    files = {"--csv": csv_file, "--false-csv": false_csv, "--picture": picture}
    written = [file for file in (*files.values(), json_file) if file is not None]
    for k, path in enumerate(written):
        check_file(path, overwrite=overwrite)
        if any(same_place(path, other) for other in written[:k]):
            raise InputError(f"{path} was given for two results; give each result a file of its own")
    if picture is not None and picture.suffix.lower() not in PICTURES:
        raise InputError(
            f"--picture {picture}: no pictures of type '{picture.suffix}' can be written; use {', '.join(PICTURES)}"
        )
    if all_images:
        refuse_single([flag for flag, file in files.items() if file is not None])
        _evaluate_all(arguments, json_file, quiet)
        return
    from bigcp3d.edge.cell_tables.cell_files import write_cell_list
    from bigcp3d.edge.stores.zarr_write import writing

    done = _evaluate(arguments, quiet)
    show(done)
    for file, columns in ((csv_file, done.columns()), (false_csv, done.false_cells)):
        if file is not None:
            with writing(file):
                write_cell_list(file, columns)
    if json_file is not None:
        _write_json(json_file, done.as_json())
    if picture is not None:
        from bigcp3d.face.pictures.evaluate_picture import draw_evaluation

        with writing(picture):
            draw_evaluation(done, picture, "{pred} ({pred_name}) against {truth} ({truth_name})".format_map(arguments))


def _evaluate(arguments: o.Arguments, quiet: bool) -> Evaluation:
    from bigcp3d.face.progress.block_bar import block_bar
    from bigcp3d.schedule.evaluate import evaluate as run

    with block_bar("comparing", quiet) as move_bar:
        return run(**arguments, on_event=move_bar)


def _evaluate_all(arguments: o.Arguments, json_file: Path | None, quiet: bool) -> None:
    """Compare the labels of every image with those of the same image of the truth's collection."""
    numbers = dict[str, Any]()

    def run(image: str, name: str) -> None:
        done = _evaluate({**arguments, "pred": image, "truth": one_of_many(arguments["truth"], name)}, quiet)
        numbers[name or image] = done.as_json()
        typer.echo(image)
        show(done)

    def write() -> None:
        if json_file is not None and numbers:
            _write_json(json_file, numbers)

    for_each_image(arguments["pred"], quiet, run, then=write)


def _write_json(path: Path, numbers: dict[str, Any]) -> None:
    from bigcp3d.edge.stores.atomic_files import write_atomically
    from bigcp3d.edge.stores.zarr_write import writing

    with writing(path):
        write_atomically(path, lambda file: file.write((json.dumps(numbers, indent=2) + "\n").encode()))


def show(evaluation: Evaluation) -> None:
    """Print the numbers as two tables: of each group of cells, and of the first group at each threshold of IoU."""
    from rich.console import Console

    console, groups = Console(), evaluation.groups
    rows = [[words, *(scores.numbers[key] for scores in groups.values())] for key, words in SHOWN.items()]
    console.print(_table(["", *groups], rows))
    columns = {"ap": "AP", "precision": "precision", "recall": "recall", "f1": "F1"}
    name, first = next(iter(groups.items()))
    rows = [[str(row["iou"]), *(row[key] for key in columns)] for row in first.by_iou]
    console.print(_table([f"{name}, IoU at least", *columns.values()], rows))


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """A table of words on the left and numbers on the right."""
    from rich import box
    from rich.table import Table

    table = Table(header[0], box=box.SIMPLE, pad_edge=False)
    for name in header[1:]:
        table.add_column(name, justify="right", no_wrap=True)
    for words, *numbers in rows:
        table.add_row(words, *map(_format_number, numbers))
    return table


def _format_number(value: Number) -> str:
    """Three digits after the point, commas in a count, a dash for none."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
