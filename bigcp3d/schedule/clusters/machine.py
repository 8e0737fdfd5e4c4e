"""What this machine has: cores, memory, GPUs. No Dask here, since plans ask too."""

from __future__ import annotations

import os

WORKER_ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": str(2**28),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_ARENA_MAX": "1",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}
"""Lets workers reuse the memory of a patch for the next: Dask's own setting returns it to the system each time.

Measured, CPU seconds a patch of the shipped network: 0.31 as Dask starts a worker, 0.23 so, 0.20 without Dask.

The last two keep a worker's memory flat over thousands of blocks: each thread's own arena, and Dask's profiler, which
keeps a tree of calls for each second of an hour, let it grow by a fifth to a third in ten minutes
(`tests.benchmarks.soak`).
"""


def default_workers() -> int:
    """One worker a core that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)


def memory_per_worker(workers: int) -> int:
    """The machine's memory, shared out; 90 % of it, so that the client has some."""
    import psutil

    return int(0.9 * psutil.virtual_memory().total / workers)


def visible_gpus() -> list[str]:
    """GPUs that torch may use here, each as ``CUDA_VISIBLE_DEVICES`` names it to a process that shall see it alone."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] if named else [str(number) for number in range(count)]
