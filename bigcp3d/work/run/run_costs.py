"""What all tasks of a run took, summed by pass, by worker and over time; small enough for the labels' attributes."""

from __future__ import annotations

import importlib.metadata
import platform
from array import array
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from bigcp3d.pure.boxes import Vec3
from bigcp3d.work.plan.memory_and_disk import worker_bytes
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.plan.sections import Section
from bigcp3d.work.run.task_costs import TaskSpent

BINS = 60
"""Pieces into which the time of a run is cut."""

MOST_WORKERS = 40
"""The busiest so many workers are listed."""

PACKAGES = ("numpy", "torch", "zarr", "dask", "distributed", "numba", "scipy", "connected-components-3d")


class WorkerEffort(Section):
    """One worker process: tasks, seconds in them, largest memory, also on its GPU (0 where not known)."""

    name: str
    tasks: int
    seconds: float
    peak_bytes: int
    gpu_peak_bytes: int = 0


class PassEffort(WorkerEffort):
    """One pass, over all workers; ``busy`` is the mean number of workers that ran it in each piece of time."""

    voxels: int
    longest_seconds: float
    busy: tuple[float, ...]


class RunEffort(Section):
    """A run.

    ``began`` is when the first task began, in seconds since 1970; ``seconds`` is the wall time of the call that
    finished the run. Pieces of time, ``bin_seconds`` long, begin with the first task and may span several calls.
    ``planned_bytes`` is the planned memory of a worker. Passes are in the order in which they began, workers with the
    busiest first; ``more_workers`` are not listed.
    """

    began: float
    seconds: float
    bin_seconds: float
    block: Vec3
    planned_bytes: int
    passes: tuple[PassEffort, ...]
    workers: tuple[WorkerEffort, ...]
    more_workers: int
    versions: dict[str, str]


@dataclass
class _Sums:
    """Sums over tasks of one pass, or on one worker."""

    tasks: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    gpu_peak_bytes: int = 0

    def add(self, task: TaskSpent) -> None:
        self.tasks += 1
        self.seconds += task.seconds
        self.peak_bytes = max(self.peak_bytes, task.peak_bytes)
        self.gpu_peak_bytes = max(self.gpu_peak_bytes, task.gpu_peak_bytes)


@dataclass
class _PassSums(_Sums):
    """The same of a pass, with when its tasks began and how long they ran, where that is known: 16 bytes a task."""

    voxels: int = 0
    longest_seconds: float = 0.0
    began: array[float] = field(default_factory=lambda: array("d"))
    lengths: array[float] = field(default_factory=lambda: array("d"))

    def add(self, task: TaskSpent) -> None:
        super().add(task)
        self.voxels += task.voxels
        self.longest_seconds = max(self.longest_seconds, task.seconds)
        if task.began > 0:
            self.began.append(task.began)
            self.lengths.append(task.seconds)

    @property
    def first(self) -> float:
        """When the first task began; 0 where that is not known."""
        return min(self.began, default=0.0)

    @property
    def last(self) -> float:
        """When the last task ended."""
        return max(map(sum, zip(self.began, self.lengths, strict=True)), default=0.0)

    def busy(self, began: float, width: float) -> tuple[float, ...]:
        """Mean number of workers that ran the pass, in each piece of time."""
        busy = [0.0] * BINS
        for task_began, seconds in zip(self.began, self.lengths, strict=True):
            start, stop = (task_began - began) / width, (task_began - began + seconds) / width
            for k in range(max(0, int(start)), min(BINS, int(stop) + 1)):
                busy[k] += max(0.0, min(stop, k + 1) - max(start, k))
        return tuple(round(value, 3) for value in busy)


def sum_up_effort(tasks: Iterable[TaskSpent], plan: Plan, seconds: float) -> RunEffort:
    """Sum up what all tasks of a run took, in any order; none of them is kept."""
    passes, on_workers = defaultdict[str, _PassSums](_PassSums), defaultdict[str, _Sums](_Sums)
    for task in tasks:
        passes[task.name].add(task)
        on_workers[task.worker or "unknown"].add(task)
    began = min((sums.first for sums in passes.values() if sums.began), default=0.0)
    width = max((max((sums.last for sums in passes.values()), default=0.0) - began) / BINS, 1e-6)
    workers = sorted(on_workers.items(), key=lambda worker: -worker[1].seconds)
    return RunEffort(
        began=began,
        seconds=seconds,
        bin_seconds=width,
        block=plan.execution.block,
        planned_bytes=worker_bytes(plan),
        passes=tuple(
            PassEffort(
                **_totals(name, sums),
                voxels=sums.voxels,
                longest_seconds=sums.longest_seconds,
                busy=sums.busy(began, width),
            )
            for name, sums in sorted(passes.items(), key=lambda each: each[1].first)
        ),
        workers=tuple(WorkerEffort(**_totals(name, sums)) for name, sums in workers[:MOST_WORKERS]),
        more_workers=max(0, len(workers) - MOST_WORKERS),
        versions=_versions(),
    )


def _totals(name: str, sums: _Sums) -> dict[str, Any]:
    return {"name": name, **{each: getattr(sums, each) for each in _Sums.__dataclass_fields__}}


@cache
def _versions() -> dict[str, str]:
    """Of Python, the packages that compute, and the system."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return {**found, "system": f"{platform.system()} {platform.machine()}"}


def effort_of(attributes: dict[str, Any]) -> RunEffort | None:
    """What the attributes of labels say about their run; None where they say nothing that can be read."""
    try:
        return RunEffort.model_validate(attributes["run"])
    except (KeyError, TypeError, ValueError):
        return None
