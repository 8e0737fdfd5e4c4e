"""One experiment from start to end: training volumes, training, segmentation of what was held out, scores.

::

    <out>/<split>/material/          training volumes on the common grid, the same for all experiments
    <out>/<split>/<fold>/<row>/      a row of the report's table: exp1, exp2, exp2_ours, exp3, exp4
        settings.json                what was asked; another request is refused
        pace.json, training.json     steps and their time
        <volume>.zarr                labels/cells of a test volume
        cells.csv, result.json       Dice of each true cell; all numbers

What is there is not made again, so a run that was stopped goes on. The budget is processor time, which other programs
on the machine do not use up.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from material import prepare, prepare_test
from splits import NAMES, Fold, Split, Volume, open_split

from bigcp3d import BigCP3DError, Evaluation, InputError, evaluate

log = logging.getLogger(__name__)

TITLES = {
    "exp1": "Exp1: pretrained 2D Cellpose",
    "exp1_ours": "Exp1, our reconstruction",
    "exp2": "Exp2: 2D Cellpose, trained here",
    "exp2_ours": "Exp2, our reconstruction",
    "exp3": "Exp3: 3D U-Net, heat flows",
    "exp4": "Exp4: 3D U-Net, tanh flows",
}
"""Rows of the report, in its order."""


class Missing(Exception):
    """An experiment cannot be run here; its numbers are missing, and the report says why."""


@dataclass(frozen=True)
class Training:
    """What a training cost.

    Attributes
    ----------
    model : str
        Its file, or a pretrained model's name.
    steps, voxels_seen, parameters : int
        Voxels of all patches (pixels of slices) that went through the network, repeats counted.
    seconds, cpu_seconds : float
        Of the clock; of all processor cores together. Preparation of the training volumes not counted.
    """

    model: str
    steps: int = 0
    voxels_seen: int = 0
    parameters: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Job:
    """One fold of an experiment.

    Attributes
    ----------
    arguments : argparse.Namespace
        Of the command line.
    split, fold : Split, Fold
    volumes : tuple of Volume
        To train on, on the common grid.
    folder : Path
        Of the experiment's own row.
    """

    arguments: argparse.Namespace
    split: Split
    fold: Fold
    volumes: tuple[Volume, ...]
    folder: Path


Segment = Callable[[Job, Training, Volume, Path], None]
"""Writes ``labels/cells`` of a test volume into a store."""


@dataclass(frozen=True)
class Experiment:
    """How to train, and how to segment for each of its rows."""

    name: str
    train: Callable[[Job], Training]
    rows: Mapping[str, Segment]
    options: Callable[[argparse.ArgumentParser], None] = field(default=lambda parser: None)


def main(experiment: Experiment, description: str, argv: list[str] | None = None) -> None:
    """Run an experiment from the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the real volumes")
    parser.add_argument("--split", choices=NAMES, default="membrane")
    parser.add_argument("--fold", help="only this one")
    parser.add_argument("--out", type=Path, default=Path("results"))
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, default=20.0, help="of processor time to train for (default 20)")
    budget.add_argument("--steps", type=int, help="of training, instead of a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="of the training; more only on idle cores")
    parser.add_argument("--overwrite", action="store_true", help="discard what the experiment left before")
    parser.add_argument("--quick", action="store_true", help="a tiny split and a few steps: to test, not to measure")
    experiment.options(parser)
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.split, arguments.steps = "quick", arguments.steps or 3
        vars(arguments).update({name: 2 if name == "batch" else 48 for name in ("batch", "bsize") if name in arguments})
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    try:
        split = open_split(arguments.split, arguments.data)
        folds = [fold for fold in split.folds if arguments.fold in (None, fold.name)]
        if not folds:
            names = ", ".join(fold.name for fold in split.folds)
            raise InputError(f"found --fold {arguments.fold}; split {split.name} has {names}: give one of these")
        for fold in folds:
            _run_fold(experiment, arguments, split, fold)
    except BigCP3DError as error:
        parser.exit(error.exit_code, f"{error}\n")


def _run_fold(experiment: Experiment, arguments: argparse.Namespace, split: Split, fold: Fold) -> None:
    """Train, then segment and score for each row."""
    home = arguments.out / split.name / fold.name
    folders = {row: home / row for row in experiment.rows}
    own = home / experiment.name
    if arguments.overwrite:
        for folder in {own, *folders.values()}:
            shutil.rmtree(folder, ignore_errors=True)
    _keep_settings(own, arguments)
    material = arguments.out / split.name / "material"
    volumes = tuple(prepare(item, material, split.diameter_vox) for item in fold.train)
    tests = [prepare_test(item, material) for item in fold.test]
    job = Job(arguments, split, fold, volumes, own)
    try:
        training = _train(experiment, job)
    except Missing as reason:
        log.warning("%s on %s: missing: %s", experiment.name, fold.name, reason)
        for row, folder in folders.items():
            write_json(folder / "result.json", {"row": row, "missing": str(reason)})
        (own / "settings.json").unlink()  # nothing was made with them
        return
    for row, segment in experiment.rows.items():
        try:
            scores = {v.name: _segment_and_score(segment, job, training, v, folders[row]) for v in tests}
        except Missing as reason:
            log.warning("%s on %s: missing: %s", row, fold.name, reason)
            write_json(folders[row] / "result.json", {"row": row, "missing": str(reason)})
            continue
        write_cells(folders[row] / "cells.csv", scores)
        volumes_json = {v.name: {"path": str(v.path.resolve()), **scores[v.name].as_json()} for v in tests}
        result = {"row": row, "training": asdict(training), "volumes": volumes_json, "threads": arguments.threads}
        write_json(folders[row] / "result.json", result)
        for name, found in scores.items():
            log.info("%s on %s: mean Dice %.3f, AP50 %.3f", row, name, found["mean_dice"] or 0, found["ap50"] or 0)


def _train(experiment: Experiment, job: Job) -> Training:
    """Train, unless that is done."""
    kept = job.folder / "training.json"
    if kept.exists():
        return Training(**json.loads(kept.read_text()))
    training = experiment.train(job)
    write_json(kept, asdict(training))
    return training


def _segment_and_score(segment: Segment, job: Job, training: Training, volume: Volume, folder: Path) -> Evaluation:
    """Segment a test volume, unless that is done, and compare with its truth."""
    store = folder / f"{volume.name}.zarr"
    done = folder / f"{volume.name}.done"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        segment(job, training, volume, store)
        done.touch()
    return score(store, volume)


def score(store: Path, volume: Volume) -> Evaluation:
    """Compare ``labels/cells`` of a store with a volume's truth."""
    return evaluate(store, volume.path, pred_name="cells", truth_name="truth", min_cell_vox=volume.crumbs_vox)


def _keep_settings(folder: Path, arguments: argparse.Namespace) -> None:
    """Write what was asked; `InputError` where the folder holds results of something else."""
    ignored = ("data", "out", "fold", "overwrite", "threads")
    asked = {name: str(value) for name, value in sorted(vars(arguments).items()) if name not in ignored}
    if arguments.steps:
        del asked["minutes"]
    kept = folder / "settings.json"
    if kept.exists() and (before := json.loads(kept.read_text())) != asked:
        differ = [
            f"{name}: {before.get(name)}, now {asked.get(name)}"
            for name in sorted({*before, *asked})
            if before.get(name) != asked.get(name)
        ]
        raise InputError(
            f"{folder}: found results of other settings ({'; '.join(differ)}); allowed are the same ones: "
            "give another --out, or discard them with --overwrite"
        )
    write_json(kept, asked)


def write_cells(path: Path, scores: dict[str, Evaluation]) -> None:
    """One row for each true cell."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["volume", "cell", "cell_vox", "dice"])
        for name, found in scores.items():
            rows = zip(found.cells.cell.tolist(), found.cells.cell_vox.tolist(), found.cells.dice.tolist(), strict=True)
            writer.writerows([name, *row] for row in rows)


def write_json(path: Path, content: Any) -> None:
    """Written whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(partial, path)


def choose_steps(job: Job, run: Callable[[int], None]) -> int:
    """Steps that fill the budget, from the pace of a few; kept, so that a run that goes on does not choose anew."""
    if job.arguments.steps:
        return int(job.arguments.steps)
    kept = job.folder / "pace.json"
    if not kept.exists():
        times = []
        run(1)  # compiles and caches
        for steps in (2, 8):
            begin = time.process_time()
            run(steps)
            times.append(time.process_time() - begin)
        each = (times[1] - times[0]) / 6
        steps = max(1, round(60 * job.arguments.minutes / each))
        write_json(kept, {"cpu_seconds_each": each, "steps": steps})
        log.info("%.2f s of processor time a step: %d steps", each, steps)
    return int(json.loads(kept.read_text())["steps"])
