"""Cores and memory that this process may use, in a container or a job of a queue too."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

OWN_GROUPS = Path("/proc/self/cgroup")
CONTROL_GROUPS = Path("/sys/fs/cgroup")


def default_workers() -> int:
    """One worker for each core that this process may use, in a container or a job of a queue too."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else (os.cpu_count() or 1)
    return max(1, math.ceil(min(cores, _cores_allowed())))


def memory_per_worker(workers: int) -> int:
    """An equal share of 90 % of the memory that this process may use. The rest is for the client."""
    return int(0.9 * _memory_here() / workers)


def _memory_here() -> int:
    """Memory of the machine, or what its container, or its job in a queue, allows."""
    import psutil

    limits = [int(psutil.virtual_memory().total)]
    for group in _control_groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):  # of cgroups 2 and 1
            with suppress(OSError, ValueError):  # "max"
                limits.append(int((group / name).read_text(encoding="ascii")))
    return min(limits)


def _cores_allowed() -> float:
    """Cores that a container or a job in a queue may use; infinite where nothing limits them."""
    limits = [math.inf]
    for group in _control_groups("cpu"):
        with suppress(OSError, ValueError):  # "max"
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
            limits.append(int(quota) / int(period))
        with suppress(OSError, ValueError):
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
            limits.append(int(quota) / int(period) if int(quota) > 0 else math.inf)
    return min(limits)


def _control_groups(controller: str) -> list[Path]:
    """Folders in which Linux keeps limits of this process: its own group, and all groups above, which limit it too.

    A queue limits a job in a group above that of the process. Dask reads only one group, and takes half a second to
    import. In a container, the folder of the process itself may be out of sight, but that of the container is not.
    """
    try:
        lines = OWN_GROUPS.read_bytes().decode(errors="replace").splitlines()
    except OSError:
        return []
    groups = []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers and controller not in controllers.split(","):
            continue
        top = CONTROL_GROUPS / controller if controllers else CONTROL_GROUPS  # of cgroups 1 and 2
        own = top / path.lstrip("/")
        groups += [own, *(above for above in own.parents if above.is_relative_to(top))]
    return groups
