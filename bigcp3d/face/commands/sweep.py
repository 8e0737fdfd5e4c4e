"""``bigcp3d sweep``: tries many settings on one region, and writes a table and a picture."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigcp3d.errors import InputError
from bigcp3d.face import options as o
from bigcp3d.face.commands.convert import image_of
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.option import Setting, settings_of
from bigcp3d.schedule.planning.request import SWEPT, Request

if TYPE_CHECKING:
    from bigcp3d.schedule.sweep import Sweep
    from bigcp3d.schedule.sweep_trial import Trial

TRIED = "What is tried (one value or several: 0.3,0.5,0.7)"
RESULT = "What is written"
SCORES = ("mean_dice", "ap50", "precision", "recall", "f1", "true_cells")
SHARED = ("diameter_um", "scale_um", "model", "channel", "level", "maps", "start", "precision", "memory_limit")


def _several(each: Setting) -> Setting:
    """A setting that takes several values, with commas between them."""
    option = replace(each.option, panel=TRIED, metavar=f"{each.option.metavar},...")
    return replace(each, type=str, default=None if each.default is None else str(each.default), option=option)


TIME = settings_of(Request)["time"]
SETTINGS = [
    *o.choose_settings(Request, only=("source", "roi")),
    *map(_several, o.choose_settings(Request, only=SWEPT)),
    *o.choose_settings(Request, only=SHARED),
    replace(TIME, default="0", option=replace(TIME.option, help="Time point, from 0.", metavar="N")),
]


@o.with_options(SETTINGS)
def sweep(
    arguments: o.Arguments,
    truth: Annotated[
        str | None,
        o.option("--truth", panel=RESULT, metavar="NAME", text="True labels: adds scores, and sorts the trials."),
    ] = None,
    output: Annotated[
        Path, o.option("--output", panel=RESULT, metavar="DIR", text="Folder for sweep.csv and sweep.png.")
    ] = Path("bigcp3d-sweep"),
    overwrite: Annotated[
        bool, o.option("--overwrite", panel=RESULT, text="Replace an earlier table and picture.")
    ] = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
) -> None:
    """Try many thresholds, radii and filters on a region. The network predicts only once.

    Writes a row of a table and a picture for each trial, but no labels. Each trial finds what `bigcp3d segment --roi`
    would find with its settings: cells inside the region are those of a run on the whole volume; cells that its border
    cuts may differ. With `--truth` the trials are sorted by the mean of Dice and AP in the region. Pieces of cells at
    its border count as cells there, so use these scores only to compare trials with each other.
    """
    set_up_logging(verbose, quiet)
    from bigcp3d.edge.stores.check_writable import check_file
    from bigcp3d.edge.stores.zarr_write import writing
    from bigcp3d.face.pictures.sweep_picture import Tile, draw_tiles, tile_of
    from bigcp3d.face.progress.progress import watching
    from bigcp3d.schedule.sweep import plan_sweep

    table, picture = output / "sweep.csv", output / "sweep.png"
    for file in (table, picture):
        check_file(file, overwrite=overwrite)
    said = {name: arguments.pop(name) for name in SWEPT}
    values = {name: _read_numbers(name, text) for name, text in said.items() if text is not None}
    arguments["source"] = image_of(Request(arguments["source"], scale_um=arguments["scale_um"]), quiet)
    with watching(quiet) as observer:
        planned = plan_sweep(**arguments, values=values, truth=truth, on_event=observer)
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[Trial, Tile]] = []
    with watching(quiet) as observer:
        for trial in planned.run(on_event=observer, scratch=output, threads=os.cpu_count() or 1):
            rows.append((replace(trial, labels=trial.labels[:0]), tile_of(trial)))  # planes are enough to be drawn
    rows.sort(key=lambda row: -_score(row[0]))
    with writing(output):
        _write_table(table, [trial for trial, _ in rows])
        draw_tiles(planned, [tile for _, tile in rows], picture)
    typer.echo(_describe(planned, [trial for trial, _ in rows]))
    typer.echo(f"{table}, {picture}")


def _read_numbers(name: str, text: str) -> list[float]:
    """Numbers with commas between them, without repetitions."""
    try:
        return list(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError as error:
        raise InputError(f"{name} is {text!r}; write numbers with commas between them: 0.3,0.5,0.7") from error


def _score(trial: Trial) -> float:
    """The mean of Dice and AP, by which trials are sorted; 0 without truth, so that the order stays."""
    scores = trial.scores or {}
    return sum(float(scores.get(name) or 0) for name in ("mean_dice", "ap50")) / 2


def _row(trial: Trial) -> dict[str, Any]:
    import numpy as np

    names = ("volume_q1", "volume_median", "volume_q3")
    quartiles = np.percentile(trial.volumes, (25, 50, 75)) if trial.cells else [None] * 3
    return {
        **trial.settings,
        "cells": trial.cells,
        **dict(zip(names, quartiles, strict=True)),
        **{f"removed, {name}": number for name, number in trial.removed.items()},
        "foreground_vox": trial.foreground_vox,
        "unassigned_vox": trial.unassigned_vox,
        **{name: trial.scores[name] for name in SCORES if trial.scores},
    }


def _write_table(path: Path, trials: Sequence[Trial]) -> None:
    rows = [_row(trial) for trial in trials]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)


def _describe(planned: Sweep, trials: Sequence[Trial], most: int = 10) -> str:
    """The first trials, one per line."""
    from bigcp3d.face.pictures.sweep_picture import name_trial

    lines = [f"{len(trials)} trials in a region of {' x '.join(map(str, planned.region.shape))} voxels"]
    lines += [f"  {name_trial(trial)}" for trial in trials[:most]]
    return "\n".join(lines + ([f"  and {len(trials) - most} more"] if len(trials) > most else []))
