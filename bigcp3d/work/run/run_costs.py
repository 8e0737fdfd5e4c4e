"""What all tasks of a run took, summed by pass, by worker and over time; small enough for the labels' attributes."""

from __future__ import annotations

import importlib.metadata
import platform
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
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


def sum_up_effort(tasks: Sequence[TaskSpent], plan: Plan, seconds: float) -> RunEffort:
    """Sum up what all tasks of a run took."""
    timed = [task for task in tasks if task.began > 0]
    began = min((task.began for task in timed), default=0.0)
    length = max((task.began + task.seconds for task in timed), default=0.0) - began
    width = max(length / BINS, 1e-6)
    passes = [
        PassEffort(
            **_totals(name, rows),
            voxels=sum(row.voxels for row in rows),
            longest_seconds=max(row.seconds for row in rows),
            busy=_busy(rows, began, width),
        )
        for name, rows in _grouped(tasks, "name").items()
    ]
    workers = [WorkerEffort(**_totals(name or "unknown", rows)) for name, rows in _grouped(tasks, "worker").items()]
    workers.sort(key=lambda worker: -worker.seconds)
    return RunEffort(
        began=began,
        seconds=seconds,
        bin_seconds=width,
        block=plan.execution.block,
        planned_bytes=worker_bytes(plan),
        passes=tuple(passes),
        workers=tuple(workers[:MOST_WORKERS]),
        more_workers=max(0, len(workers) - MOST_WORKERS),
        versions=_versions(),
    )


def _totals(name: str, rows: Sequence[TaskSpent]) -> dict[str, Any]:
    return {
        "name": name,
        "tasks": len(rows),
        "seconds": sum(row.seconds for row in rows),
        "peak_bytes": max(row.peak_bytes for row in rows),
        "gpu_peak_bytes": max(row.gpu_peak_bytes for row in rows),
    }


def _grouped(tasks: Iterable[TaskSpent], by: str) -> dict[str, list[TaskSpent]]:
    """Rows by a column, in the order in which its values first come."""
    groups: dict[str, list[TaskSpent]] = defaultdict(list)
    for task in tasks:
        groups[getattr(task, by)].append(task)
    return groups


def _busy(rows: Sequence[TaskSpent], began: float, width: float) -> tuple[float, ...]:
    """Mean number of workers that ran a pass, in each piece of time."""
    busy = [0.0] * BINS
    for row in rows:
        if row.began <= 0:
            continue
        start, stop = (row.began - began) / width, (row.began - began + row.seconds) / width
        for k in range(max(0, int(start)), min(BINS, int(stop) + 1)):
            busy[k] += max(0.0, min(stop, k + 1) - max(start, k))
    return tuple(round(value, 3) for value in busy)


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
