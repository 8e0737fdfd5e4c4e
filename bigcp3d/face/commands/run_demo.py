"""``bigcp3d demo``: simulates a tissue, segments it in blocks on a local Dask cluster, compares and draws it.

With ``check``, a serial run in one block follows, and every voxel must be the same. A file marks the folder as a
demo's. Only such a folder is cleared for the next demo, and only of files that a demo writes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.stores.check_writable import check_folder
from bigcp3d.edge.stores.platforms import join_words
from bigcp3d.edge.stores.zarr_write import writing
from bigcp3d.errors import BlockError, TargetError
from bigcp3d.face.pictures.planes_picture import draw, read_planes
from bigcp3d.face.progress.progress import describe_summary, watching
from bigcp3d.face.report.write import ReportWriter
from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.plural import count
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.schedule.evaluate import evaluate
from bigcp3d.schedule.plan_segmentation import plan_segmentation
from bigcp3d.schedule.segment import segment
from bigcp3d.work.analyse.evaluate import Evaluation
from bigcp3d.work.simulate import simulate

MARKER = "demo.json"
IMAGE = "tissue.zarr"
DIAMETER_VOX = 24.0
SCALE_UM = (1.0, 0.5, 0.5)
NAME = "cells"
WRITTEN = {
    MARKER,
    "picture.png",
    "serial.bigcp3d",
    "serial.zarr",
    "tissue.bigcp3d",
    "tissue.cells.report.html",
    IMAGE,
    ".tissue.zarr.partial",
}


def prepare_folder(folder: Path) -> None:
    """Make an empty folder, or clear that of an earlier demo; `TargetError` where it holds anything else."""
    check_folder(folder, cure="give another DIR")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    inside = sorted(folder.iterdir())
    own = any(path.name == MARKER for path in inside)
    foreign = [path.name for path in inside if not (own and path.name in WRITTEN)]
    if foreign:
        raise TargetError(
            f"{folder} holds files that no demo wrote: {', '.join(foreign[:5])}; the demo deletes what is in its "
            "folder, so give an empty one: bigcp3d demo DIR"
        )
    for path in inside:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / MARKER).write_text("{}\n", encoding="utf-8")


def run_demo(
    folder: Path,
    *,
    shape: Vec3,
    stain: str,
    seed: int,
    workers: int,
    check: bool,
    quiet: bool,
    say: Callable[[str], None],
) -> Evaluation:
    """Simulate, segment, evaluate and draw, and compare with the serial run if asked.

    ``say`` takes each line of text. Returns the evaluation, whose numbers ``demo.json`` holds too. `BlockError` where a
    block failed, or where the labels differ from those of the serial run.
    """
    prepare_folder(folder)
    image, tissue = folder / IMAGE, Tissue(shape, diameter_vox=DIAMETER_VOX, stain=stain, seed=seed, scale=SCALE_UM)
    simulate(image, tissue, scale_um=SCALE_UM)
    say(f"simulated {' x '.join(map(str, shape))} voxels of {stain}: {image}")

    settings: dict[str, Any] = {"name": NAME, "model": stain, "diameter_um": DIAMETER_VOX * min(SCALE_UM)}
    block = quarter(plan_segmentation(image, **settings).shape)
    with watching(quiet) as observer:
        report = ReportWriter(observer)
        summary = segment(image, block=block, workers=workers, on_event=report, **settings)
    say(describe_summary(summary))

    evaluation = evaluate(image, image, pred_name=NAME, truth_name="truth", whole_cells=True)
    (folder / MARKER).write_text(json.dumps(evaluation.as_json(), indent=2) + "\n", encoding="utf-8")
    picture = folder / "picture.png"
    planes = read_planes(open_image(image), open_labels(image, NAME), open_labels(image, "truth"))
    title = ", ".join([count(summary.cells, "cell"), count(summary.blocks, "block"), count(workers, "worker")])
    draw(planes, picture, f"bigcp3d demo: {title}; {describe_scores(evaluation)}")
    if check:
        say(check_against_serial(folder, shape, settings))
    say(f"picture: {picture}")
    if report.path is not None:
        say(f"report: {report.path}")
    say(f"look at it: {join_words(['bigcp3d', 'view', str(image)])}")
    say(describe_scores(evaluation))
    return evaluation


def describe_scores(evaluation: Evaluation) -> str:
    """The scores in a line. Many cells are cut by the border of a small volume, some to slivers of a few voxels."""
    names = {"whole cells": "whole cells", "all cells": "all cells, also those that the border cuts"}
    told = []
    for name, words in names.items():
        numbers = evaluation.groups[name].numbers
        if numbers["mean_dice"] is not None:
            told.append(
                f"{words} ({numbers['true_cells']:,}): mean Dice {numbers['mean_dice']:.3f}, AP50 {numbers['ap50']:.3f}"
            )
    return "; ".join(told)


def quarter(shape: Vec3) -> Vec3:
    """The block that cuts a volume in half along y and x: four blocks, whose borders meet in the middle."""
    z, y, x = shape
    return z, -(-y // 2), -(-x // 2)


def check_against_serial(folder: Path, shape: Vec3, settings: Mapping[str, Any]) -> str:
    """Segment once more, serially and in one block; `BlockError` where any voxel differs."""
    image, other = folder / IMAGE, folder / "serial.zarr"
    segment(image, output=other, block=shape, executor="serial", **settings)
    whole = Box.of_shape(shape)
    blocks, serial = (read_box(open_labels(path, NAME), 0, whole) for path in (image, other))
    differing = int(np.count_nonzero(blocks != serial))
    if differing:
        raise BlockError(
            f"{differing} of {whole.size} voxels differ between the run in blocks and the serial run; this is a bug: "
            f"please report it with {folder}"
        )
    return f"check: all {whole.size:,} voxels equal those of the serial run in one block"
