"""``bigcp3d demo``: simulates a tissue, segments it in blocks on a local Dask cluster, compares and draws it.

With ``check``, a serial run over one block follows, and every voxel must be the same. A file in the folder marks it as
a demo's. Only such a folder is cleared for the next demo, and only of files that a demo writes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bigcp3d.edge.stores.check_writable import check_folder
from bigcp3d.edge.stores.zarr_write import writing
from bigcp3d.errors import BlockError, TargetError
from bigcp3d.face.progress.progress import describe_summary, together, watching
from bigcp3d.pure.boxes import Box, Vec3

MARKER = "demo.json"
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
    "tissue.zarr",
    ".tissue.zarr.partial",
}


@dataclass(frozen=True)
class Demo:
    """What the demo does; see the options of ``bigcp3d demo``."""

    folder: Path
    shape: Vec3
    stain: str
    seed: int
    workers: int
    check: bool

    @property
    def tissue(self) -> Path:
        """The simulated image, with its truth and, in the end, the labels found."""
        return self.folder / "tissue.zarr"

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of `segment` that decide the result."""
        return {"name": NAME, "model": self.stain, "diameter_um": DIAMETER_VOX * min(SCALE_UM)}


def prepare_folder(folder: Path) -> None:
    """Make an empty folder, or clear an earlier demo; `TargetError` where it holds anything else."""
    check_folder(folder, cure="give another DIR")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    inside = sorted(folder.iterdir())
    own = any(path.name == MARKER for path in inside)
    foreign = [path.name for path in inside if not (own and path.name in WRITTEN)]
    if foreign:
        raise TargetError(
            f"{folder} holds files that no demo wrote: {', '.join(foreign[:5])}; the demo clears its folder: give an "
            "empty one, bigcp3d demo DIR"
        )
    for path in inside:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / MARKER).write_text("{}\n")


def run_demo(demo: Demo, *, quiet: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Simulate, segment, evaluate, draw, and compare with the serial run where asked.

    ``say`` takes each line of the report; the numbers of the evaluation come back, and lie in ``demo.json``.

    Raises
    ------
    BlockError
        A block failed, or the labels differ from the serial ones.
    """
    from bigcp3d.edge.image.image import open_image, open_labels
    from bigcp3d.face.pictures.planes_picture import draw, read_planes
    from bigcp3d.face.report.write import ReportWriter
    from bigcp3d.pure.tissue.tissue import Tissue
    from bigcp3d.schedule.segment import plan_segmentation, segment
    from bigcp3d.work.analyse.evaluate import evaluate
    from bigcp3d.work.simulate import simulate

    prepare_folder(demo.folder)
    tissue = Tissue(shape=demo.shape, diameter_vox=DIAMETER_VOX, stain=demo.stain, seed=demo.seed, scale=SCALE_UM)
    simulate(demo.tissue, tissue, scale_um=SCALE_UM)
    say(f"simulated {' x '.join(map(str, demo.shape))} voxels of {demo.stain}: {demo.tissue}")

    block = quarter(plan_segmentation(demo.tissue, **demo.settings).shape)
    report = ReportWriter()
    with watching(quiet) as watch:
        observer = together(report, watch)
        summary = segment(demo.tissue, block=block, workers=demo.workers, on_event=observer, **demo.settings)
    say(describe_summary(summary))

    numbers = dict(evaluate(demo.tissue, demo.tissue, pred_name=NAME, truth_name="truth"))
    (demo.folder / MARKER).write_text(json.dumps(numbers, indent=2) + "\n")
    picture = demo.folder / "picture.png"
    planes = read_planes(open_image(demo.tissue), open_labels(demo.tissue, NAME), open_labels(demo.tissue, "truth"))
    draw(planes, picture, f"bigcp3d demo: {summary.cells} cells, {summary.blocks} blocks, {demo.workers} workers")
    if demo.check:
        say(check_against_serial(demo))
    say(f"picture: {picture}")
    if report.path is not None:
        say(f"report: {report.path}")
    say(f"look at it: bigcp3d view {demo.tissue}")
    return numbers


def quarter(shape: Vec3) -> Vec3:
    """Half of y and of x: four blocks, whose borders meet in the middle."""
    z, y, x = shape
    return z, -(-y // 2), -(-x // 2)


def check_against_serial(demo: Demo) -> str:
    """Segment once more, serially and in one block; `BlockError` where a single voxel differs."""
    from bigcp3d.edge.image.image import open_labels
    from bigcp3d.edge.image.voxels import read_box
    from bigcp3d.schedule.segment import segment

    other = demo.folder / "serial.zarr"
    segment(demo.tissue, output=other, block=demo.shape, executor="serial", **demo.settings)
    whole = Box.of_shape(demo.shape)
    blocks, serial = (read_box(open_labels(path, NAME), 0, whole) for path in (demo.tissue, other))
    differing = int(np.count_nonzero(blocks != serial))
    if differing:
        raise BlockError(
            f"{differing} of {whole.size} voxels differ between the run in blocks and the serial run; none may: please "
            f"report it with {demo.folder}"
        )
    return f"check: all {whole.size:,} voxels equal those of the serial run in one block"
