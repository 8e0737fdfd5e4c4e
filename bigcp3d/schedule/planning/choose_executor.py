"""Chooses how the tasks of a run are executed: in this process, or by Dask on worker processes.

Starting workers takes ten to twenty seconds, and each imports torch again. A small volume is done by then, so it stays
in this process, where the network computes several patches at once. No label depends on the choice.
"""

from __future__ import annotations

from dataclasses import replace

from bigcp3d.schedule.clusters.this_machine import device_here
from bigcp3d.schedule.planning.request import Request
from bigcp3d.work.cores_and_memory import default_workers
from bigcp3d.work.plan.memory_and_disk import worker_bytes
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.plan.sections import Running

SMALL_VOX = 2**24
"""Up to so many working voxels, of all time points together, are segmented in this process unless the user asks for
workers. Two cores take about ten seconds for them."""


def choose_executor(plan: Plan, request: Request) -> Request:
    """The request with the executor that the run will have: "serial" or "dask"."""
    if request.executor != "auto":
        return request
    small = plan.scope.mapped.size * len(plan.where.times) <= SMALL_VOX
    return replace(request, executor="serial" if small and not request.asks_for_workers else "dask")


def plan_running(plan: Plan, request: Request) -> Plan:
    """The plan, which says how its tasks run. In one process the network gets all cores that the memory allows."""
    if request.executor == "dask":
        workers = None if request.scheduler else request.machines.size.most
        return plan.model_copy(update={"running": Running(executor="dask", workers=workers)})
    threads = 1
    if plan.predicts and plan.prediction.card and device_here() == "cpu":
        patch_bytes = plan.prediction.card.patch_bytes(plan.prediction.patch, len(plan.source.channels))
        room = max(0, request.machines.limit_bytes - worker_bytes(plan)) // patch_bytes
        threads = min(default_workers(), 1 + room, len(plan.patches.cores))
    return plan.model_copy(update={"running": Running(executor="serial", threads=threads, workers=1)})
