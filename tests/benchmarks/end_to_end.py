"""What a whole run costs beside its network: ``python -m tests.benchmarks.end_to_end``.

The network alone is every patch of the volume once, from memory, on one thread a process, in the precision that the run
takes. Against it stand `bigcp3d.segment` in one process, and on Dask with two workers against the patches shared
by two processes. CPU seconds are those of all processes, imports and start of the cluster included; they are the figure
to trust on a machine that others use too.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import bigcp3d
from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.work.plan.plan import Plan

SHAPE: Vec3 = (144, 216, 216)


@contextmanager
def spent(into: dict[str, Any]) -> Iterator[None]:
    """Wall and CPU seconds of this process; those of children are added by hand, as not all are waited for."""
    wall, busy = time.perf_counter(), time.process_time()
    yield
    into |= {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - busy}


def run_patches(plan_json: str, image: np.ndarray, first: int, step: int) -> float:
    """Some of the plan's patches through its network; the CPU seconds of this process so far."""
    import torch

    from bigcp3d.pure.predict.run_network import run_network, take_patch
    from bigcp3d.work.run.run import Run

    plan = Plan.model_validate_json(plan_json)
    network, grid = Run(plan).network, plan.patches
    voxels = torch.from_numpy(image)[None]
    for index in list(grid.cores)[first::step]:
        run_network(network, take_patch(voxels, Box.of_shape(grid.shape), grid.window(index), grid)[None])
    return time.process_time()


def run_network_alone(plan: Plan, image: np.ndarray, processes: int) -> float:
    """Every patch once, in this process or shared by several; the CPU seconds of the others."""
    if processes == 1:
        run_patches(plan.model_dump_json(), image, 0, 1)
        return 0.0
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        shares = [pool.submit(run_patches, plan.model_dump_json(), image, i, processes) for i in range(processes)]
        return sum(share.result() for share in shares)


def run_on_dask(source: Path, workers: int, settings: dict[str, Any]) -> tuple[bigcp3d.Summary, float]:
    """Segment on a cluster of its own; the summary, and the CPU seconds of the workers' lives, which none waits for."""
    import dask
    from distributed import Client, LocalCluster

    from bigcp3d.schedule.clusters.this_machine import WORKER_ENVIRONMENT

    environ = {**dask.config.get("distributed.nanny.pre-spawn-environ"), **WORKER_ENVIRONMENT}
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ": environ}),
        LocalCluster(n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        block = bigcp3d.plan_segmentation(source, **settings).execution.block
        summary = bigcp3d.segment(
            source, scheduler=cluster.scheduler_address, **{**settings, "workers": None, "block": block}
        )
        return summary, sum(client.run(time.process_time).values())


def measure(folder: Path, shape: Vec3, model: str, precision: str, block: Vec3 | None) -> list[dict[str, Any]]:
    """A row a run: what it cost, and that by what its network alone cost."""
    from bigcp3d.pure.tissue.tissue_settings import Tissue
    from bigcp3d.work.simulate import simulate

    source = folder / "image.zarr"
    simulate(source, Tissue(shape=shape, diameter_vox=14.0, stain="nuclei", seed=1))
    image = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    rows: list[dict[str, Any]] = []
    for executor, workers in (("serial", 1), ("dask", 2)):
        settings: dict[str, Any] = {"model": model, "diameter_um": "as-is", "precision": precision, "block": block}
        settings |= {"executor": executor, "output": folder / f"{executor}.zarr"}
        settings |= {"workers": workers if executor == "dask" else None}
        plan = bigcp3d.plan_segmentation(source, **settings)
        alone: dict[str, Any] = {}
        whole: dict[str, Any] = {}
        if executor == "serial":  # imports and kernels are warm
            run_patches(plan.model_dump_json(), image, 0, len(plan.patches.cores))
        with spent(alone):
            more = run_network_alone(plan, image, workers)
        alone["cpu_s"] += more
        with spent(whole):
            if executor == "dask":
                summary, more = run_on_dask(source, workers, settings)
            else:
                summary, more = bigcp3d.segment(source, **settings), 0.0
        whole["cpu_s"] += more
        rows.append(
            {
                "executor": executor,
                "processes": workers,
                "precision": plan.prediction.precision,
                "shape": list(shape),
                "blocks": summary.blocks,
                "patches": len(plan.patches.cores),
                "cells": summary.cells,
                "network": alone,
                "segment": whole,
                "cpu_ratio": whole["cpu_s"] / alone["cpu_s"],
                "wall_ratio": whole["wall_s"] / alone["wall_s"],
                "pass_s": summary.pass_seconds,
            }
        )
    return rows


def as_table(rows: list[dict[str, Any]]) -> str:
    """The rows for people."""
    head = (
        f"{'run':<8}{'precision':>10}{'blocks':>8}{'patches':>9}{'network CPU s':>15}{'segment CPU s':>15}{'ratio':>7}"
    )
    lines = [head + f"{'wall ratio':>12}"]
    for row in rows:
        lines.append(
            f"{row['executor']:<8}{row['precision']:>10}{row['blocks']:>8}{row['patches']:>9}"
            f"{row['network']['cpu_s']:>15.1f}{row['segment']['cpu_s']:>15.1f}{row['cpu_ratio']:>7.2f}"
            f"{row['wall_ratio']:>12.2f}"
        )
        passes = ", ".join(f"{name} {seconds:.1f}" for name, seconds in row["pass_s"].items())
        lines.append(f"         seconds in tasks: {passes}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Measure, print the table, and write JSON beside it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE)
    parser.add_argument("--block", type=int, nargs=3, default=None)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="end_to_end_"))
    try:
        block = None if asked.block is None else tuple(asked.block)
        rows = measure(folder, tuple(asked.shape), asked.model, asked.precision, block)
    finally:
        shutil.rmtree(folder)
    print(as_table(rows))
    if asked.json is not None:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n")
    return rows


if __name__ == "__main__":
    main()
