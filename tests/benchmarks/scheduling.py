"""What does the graph of a large run cost? ``python -m tests.benchmarks.scheduling --blocks 10000 100000``.

The real tasks of a run, on a scheduler and workers that are processes of their own, as on a cluster. The tasks do
nothing, or sleep (``--task-ms``) to show whether workers wait. A row for each tenth of the run shows whether time and
memory grow with the number of tasks.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import psutil
from distributed import Client, Scheduler

import bigcp3d
from bigcp3d.edge.image.new_image import create_image
from bigcp3d.schedule.running import distribute
from bigcp3d.schedule.running.tasks import Pass, count_passes, in_order, label_passes, object_passes
from bigcp3d.work.plan.plan import Plan
from tests.benchmarks.report import Row, tell

BLOCK = 128


def sleep_instead(seconds: float) -> None:
    """From now on tasks of this worker sleep, or return at once, and need no network."""

    def perform(*_: object) -> dict[str, int]:
        if seconds:
            time.sleep(seconds)
        return {"voxels": 0}

    distribute.perform = perform  # type: ignore[assignment]
    distribute.RunPlugin.setup = lambda plugin, worker: setattr(plugin, "run", None)  # type: ignore[method-assign]
    distribute.RunPlugin.teardown = lambda plugin, worker: None  # type: ignore[method-assign]


@contextmanager
def cluster(folder: Path, workers: int, threads: int) -> Iterator[tuple[str, psutil.Process]]:
    """The scheduler's address file, and its process."""
    file, quiet = folder / "scheduler.json", {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask, at = [sys.executable, "-m", "dask"], ["--host", "127.0.0.1", "--no-dashboard"]
    started = [subprocess.Popen([*dask, "scheduler", *at, "--port", "0", "--scheduler-file", file], **quiet)]
    try:
        worker = ["worker", *at, "--scheduler-file", file, "--no-nanny", "--nthreads", str(threads)]
        worker += ["--memory-limit", "0", "--local-directory", folder]
        started += [subprocess.Popen([*dask, *worker], **quiet) for _ in range(workers)]
        yield str(file), psutil.Process(started[0].pid)
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


def state(dask_scheduler: Scheduler) -> tuple[int, int]:
    """Tasks that the scheduler knows, and workers that an adaptive cluster would have."""
    return len(dask_scheduler.tasks), dask_scheduler.adaptive_target()


class Watch:
    """Counts finished tasks and looks at both processes as tenths of the tasks are done."""

    def __init__(self, client: Client, scheduler: psutil.Process, total: int, blocks: int, threads: int) -> None:
        self.client, self.processes = client, {"scheduler": scheduler, "client": psutil.Process()}
        self.total, self.blocks, self.threads, self.done = total, blocks, threads, 0
        self.rows: list[Row] = []
        self.known, self.targets, self.over = 0, [], threading.Event()
        self.began, self.before, self.thread = time.perf_counter(), self._used(), threading.Thread(target=self._sample)

    def __enter__(self) -> Watch:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def _sample(self) -> None:
        while not self.over.wait(0.5):
            known, target = self.client.run_on_scheduler(state)
            self.known = max(self.known, known)
            self.targets.append(target)

    def _used(self) -> dict[str, float]:
        return {name: sum(process.cpu_times()[:2]) for name, process in self.processes.items()}

    def task_done(self, *_: object) -> None:
        self.done += 1
        if self.done * 10 // self.total > (self.done - 1) * 10 // self.total:
            self.end_tenth()

    def end_tenth(self, task_s: float = 0.0) -> None:
        now, used = time.perf_counter(), self._used()
        part = self.blocks / 10
        row: Row = {"tasks done": self.done, "wall, ms/block": (now - self.began) / part * 1e3}
        for name, process in self.processes.items():
            row[f"{name}, ms/block"] = (used[name] - self.before[name]) / part * 1e3
            row[f"{name}, MiB"] = process.memory_info().rss / 2**20
        targets = self.targets or [0]
        row |= {"most known": self.known, "least adaptive": min(targets)}
        self.known, self.targets, self.began, self.before = 0, [], now, used
        self.rows.append(row)
        print({name: round(value, 2) for name, value in row.items()}, file=sys.stderr, flush=True)


def make_plan(folder: Path, blocks: int, model: str) -> Plan:
    """The plan of a cube of about so many blocks."""
    side = round(blocks ** (1 / 3)) * BLOCK
    image, block = folder / f"{blocks}.zarr", (BLOCK,) * 3
    create_image(image, (side,) * 3, "uint16", scale_um=(1, 1, 1), chunk=block, shard=block)
    with patch("bigcp3d.schedule.running.start.check_run_space"):  # nothing is written, so no disk need hold it
        return bigcp3d.plan_segmentation(image, model=model, block=block, executor="serial", diameter_um="as-is")


def measure(folder: Path, blocks: int, model: str, workers: int, threads: int, task_s: float) -> dict[str, list[Row]]:
    """Run both phases; a table for each."""
    plan, tables = make_plan(folder, blocks, model), {}
    phases: dict[str, list[list[Pass]]] = {"objects": object_passes(plan), "labels": label_passes(plan)}
    with cluster(folder, workers, threads) as (file, process), Client(scheduler_file=file) as client:
        client.wait_for_workers(workers)
        client.run(sleep_instead, task_s)
        with distribute.run_on_workers(client, plan) as (plugin, gpus):
            for phase, passes in phases.items():
                total = sum(number for number, _ in count_passes(passes).values())
                began = time.perf_counter()
                with Watch(client, process, total, len(plan.grid), threads * workers) as watch:
                    failed = distribute.execute_on_dask(
                        client, plugin, gpus, in_order(passes), watch.task_done, lambda *_: None
                    )  # type: ignore[arg-type]
                assert not failed
                assert watch.done == total
                wall = time.perf_counter() - began
                idle = f", workers idle {1 - total * task_s / (wall * workers * threads):.1%}" if task_s else ""
                title = f"{phase}: {len(plan.grid)} blocks, {total} tasks, {wall:.0f} s{idle}"
                print(title, file=sys.stderr, flush=True)
                tables[title] = watch.rows
    return tables


def main(arguments: list[str] | None = None) -> dict[str, list[Row]]:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, nargs="*", default=(10_000, 100_000))
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--task-ms", type=float, default=0.0)
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="scheduling_"))
    tables: dict[str, list[Row]] = {}
    try:
        for blocks in asked.blocks:
            tables |= measure(folder, blocks, asked.model, asked.workers, asked.threads, asked.task_ms / 1e3)
    finally:
        shutil.rmtree(folder)
    tell(tables, asked.json)
    return tables


if __name__ == "__main__":
    main()
