"""Reads the cores, memory and GPUs of this machine. Imports no Dask, since plans ask too."""

from __future__ import annotations

import os

WORKER_ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": str(2**28),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_ARENA_MAX": "1",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}
"""The first two let a worker reuse the memory of a patch, which Dask would return to the system: a patch of the
shipped network takes 0.23 CPU seconds instead of 0.31. The last two keep a worker's memory flat: an arena for each
thread and Dask's profiler let it grow by a fifth to a third in ten minutes (`tests.benchmarks.soak`).
"""


def default_workers() -> int:
    """One worker a core that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)


def memory_per_worker(workers: int) -> int:
    """An equal share of 90 % of the machine's memory; the client needs the rest."""
    import psutil

    return int(0.9 * psutil.virtual_memory().total / workers)


def visible_gpus() -> list[str]:
    """GPUs that torch may use, each as ``CUDA_VISIBLE_DEVICES`` names it."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] if named else [str(number) for number in range(count)]
