"""Cores and memory that this process may use, in a container too."""

from __future__ import annotations

import math
import os
from contextlib import suppress


def default_workers() -> int:
    """One worker for each core that this process may use, in a container too."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else (os.cpu_count() or 1)
    return max(1, math.ceil(min(cores, _cores_of_container())))


def memory_per_worker(workers: int) -> int:
    """An equal share of 90 % of the memory that the machine, or its container, has. The rest is for the client."""
    return int(0.9 * _memory_here() / workers)


def _memory_here() -> int:
    """Memory of the machine, or what its container allows."""
    import psutil

    limits = [int(psutil.virtual_memory().total)]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # of cgroups 2 and 1
        with suppress(OSError, ValueError):  # "max"
            limits.append(int(_read_limit(name)))
    return min(limits)


def _cores_of_container() -> float:
    """Cores that a container may use; infinite where nothing limits them."""
    with suppress(OSError, ValueError):  # "max"
        quota, period = _read_limit("cpu.max").split()
        return int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota = _read_limit("cpu/cpu.cfs_quota_us")
        return int(quota) / int(_read_limit("cpu/cpu.cfs_period_us")) if int(quota) > 0 else math.inf
    return math.inf


def _read_limit(name: str) -> str:
    """What Linux says of a limit of this container. Dask knows these too, but takes half a second to import."""
    with open(f"/sys/fs/cgroup/{name}", encoding="ascii") as file:
        return file.read()
