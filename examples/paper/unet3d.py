"""Exp3 and Exp4: the 3D U-Net trained by `bigcp3d.train`, applied by `bigcp3d.segment`."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

from experiment import Experiment, Job, Training, choose_steps
from splits import Volume

import bigcp3d
from bigcp3d.edge.models.model_families import load_network


def add_options(parser: argparse.ArgumentParser) -> None:
    """Of the network and its training."""
    parser.add_argument("--architecture", default="half")
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--patch", type=int, nargs=3, default=(64, 64, 64), metavar=("Z", "Y", "X"))
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--lr", type=float, default=2e-3)


def make_experiment(name: str, representation: str) -> Experiment:
    """Exp3 ("heat") or Exp4 ("tanh")."""

    def train_network(job: Job) -> Training:
        return _train(job, representation)

    return Experiment(name, train_network, {name: _segment}, add_options)


def _train(job: Job, representation: str) -> Training:
    """Train, and say what it cost."""
    arguments = job.arguments
    patch, features = tuple(arguments.patch), arguments.features
    extra: dict[str, Any] = {}
    if arguments.quick:
        patch, features, extra = (16, 32, 32), 4, {"depth": 2, "prediction_patch": (32, 32, 32), "margin": 4}
    diameter = job.split.diameter_vox
    settings: dict[str, Any] = {
        "diameter_um": {str(v.path): v.diameter_um for v in job.volumes},
        "shares": (1.0, 0.0, 0.0, 0.0),
        "representation": representation,
        "diameter_vox": diameter,
        "tanh_scale_vox": diameter / 5,
        "architecture": arguments.architecture,
        "features": features,
        "patch": patch,
        "batch": arguments.batch,
        "learning_rate": arguments.lr,
        "seed": arguments.seed,
        "min_cell_vox": max([1, *(v.crumbs_vox for v in job.volumes)]),
        "percentiles": job.split.percentiles,
        "keep": "last",  # nothing is held out of the training volumes
        "description": f"examples/paper, split {job.split.name}, fold {job.fold.name}",
        **extra,
    }
    volumes = [v.path for v in job.volumes for _ in range(v.weight)]

    def rehearse(steps: int) -> None:
        bigcp3d.train(
            volumes, job.folder / "rehearsal.safetensors", steps=steps, every=steps, overwrite=True, **settings
        )

    steps = choose_steps(job, rehearse)
    for path in job.folder.glob("rehearsal.*"):
        path.unlink()
    model = job.folder / "model.safetensors"
    saved = model.with_suffix(".checkpoint.pt")
    note = "went on from a checkpoint: times are of the last part" if saved.exists() else ""
    begin, cpu = time.perf_counter(), time.process_time()
    every = max(1, steps // 10)
    bigcp3d.train(volumes, model, steps=steps, every=every, resume=saved.exists(), overwrite=True, **settings)
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu
    parameters = sum(p.numel() for p in load_network(model)[0].parameters())
    seen = steps * arguments.batch * math.prod(patch)
    return Training(str(model), steps, seen, parameters, seconds, cpu_seconds, note)


def _segment(job: Job, training: Training, volume: Volume, store: Path) -> None:
    segment_ours(training.model, volume, store)


def segment_ours(model: str, volume: Volume, store: Path) -> None:
    """`bigcp3d.segment` with its defaults; the expected diameter is all that it is told."""
    bigcp3d.segment(
        volume.path, output=store, name="cells", model=model, diameter_um=volume.diameter_um, executor="serial",
        overwrite=True,
    )  # fmt: skip
