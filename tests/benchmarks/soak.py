"""A long run on two workers, whose memory must stay flat: ``python -m tests.benchmarks.soak``.

By default 2,028 blocks of 48 x 48 x 48 voxels of a tissue that repeats, with the shipped network. Two figures for each
worker: its resident size, looked at every second, and the peak of each task from the tasks' own records. The first
tenth of the tasks is for warming up; of the rest the last quarter is compared with the first, in median and maximum.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import threading
from collections import defaultdict
from pathlib import Path

import numpy as np
import psutil

import bigcp3d
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.tissue.tissue import render
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work.run.task_costs import TaskSpent
from tests.benchmarks.report import Row, tell
from tests.task_rows import TaskRows

TILE = 96


def write_tissue(path: Path, shape: Vec3) -> None:
    """A tile of nuclei, again and again."""
    tile, _ = render(Tissue(shape=(TILE,) * 3, diameter_vox=20.0, stain="nuclei", seed=1), Box.of_shape((TILE,) * 3))
    image = create_image(path, shape, tile.dtype.name, scale_um=(1, 1, 1), chunk=(48,) * 3, shard=(TILE,) * 3)
    grid = BlockGrid(shape, (TILE,) * 3)
    for index in grid:
        core = grid.core(index)
        write_image_box(image, core, tile[Box((0, 0, 0), core.shape).slices()])


class Sampler(threading.Thread):
    """Looks at the resident size, in bytes, of this process and of all that it started, at every second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: dict[int, list[int]] = defaultdict(list)
        self.over = threading.Event()

    def run(self) -> None:
        """Until it is over."""
        while not self.over.wait(1.0):
            self.look()

    def look(self) -> None:
        """Note all sizes of now."""
        own = psutil.Process()
        for process in (own, *own.children(recursive=True)):
            try:
                self.seen[process.pid].append(process.memory_info().rss)
            except psutil.Error:
                continue

    def rows(self) -> list[Row]:
        """A row for each process that lived for a while. This one holds the scheduler."""
        names = {psutil.Process().pid: "this process"}
        return [compare(names.get(pid, f"process {pid}"), seen) for pid, seen in self.seen.items() if len(seen) > 40]


def compare(name: str, values: list[int]) -> Row:
    """The last quarter of a series beside its first, after a tenth for warming up."""
    mib = np.asarray(values, float) / 2**20
    rest = mib[len(values) // 10 :]
    quarter = max(1, len(rest) // 4)
    first, last = rest[:quarter], rest[-quarter:]
    return {
        "what": name,
        "values": len(values),
        "first median, MiB": float(np.median(first)),
        "last median, MiB": float(np.median(last)),
        "median, last / first": float(np.median(last) / np.median(first)),
        "max, last / first": float(last.max() / first.max()),
        "medians by tenths, MiB": " ".join(f"{np.median(part):.0f}" for part in np.array_split(mib, 10)),
    }


def by_worker(tasks: list[TaskSpent], name: str) -> list[Row]:
    """Peaks of the tasks of a pass, worker by worker."""
    peaks: dict[str, list[int]] = defaultdict(list)
    for task in tasks:
        if task.name == name:
            peaks[task.worker].append(task.peak_bytes)
    return [compare(f"{name}, {worker}", values) for worker, values in peaks.items() if len(values) >= 40]


def main(arguments: list[str] | None = None) -> dict[str, list[Row]]:
    """Run, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs=3, default=(12, 13, 13), help="blocks by axis")
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="soak_"))
    try:
        write_tissue(folder / "image.zarr", vec3(n * asked.side for n in asked.counts))
        sampler = Sampler()
        sampler.start()
        settings = {"block": (asked.side,) * 3, "workers": 2, "memory_limit": "4GiB"}
        rows = TaskRows()
        summary = bigcp3d.segment(folder / "image.zarr", model=asked.model, on_event=rows.look, **settings)
        sampler.over.set()
    finally:
        shutil.rmtree(folder)
    told = {"blocks": summary.blocks, "tasks": len(rows), "cells": summary.cells, "s": summary.seconds}
    tables: dict[str, list[Row]] = {
        "run": [told],
        "resident size": sampler.rows(),
        "peaks of tasks": [row for name in ("predict", "track", "label") for row in by_worker(rows, name)],
    }
    tell(tables, asked.json)
    return tables


if __name__ == "__main__":
    main()
