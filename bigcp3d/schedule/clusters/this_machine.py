"""What this machine has: cores, memory, GPUs, packages and commands. Imports no Dask."""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
import platform
import re
import shutil
import sys
import time as clock
from contextlib import suppress
from pathlib import Path

from bigcp3d.errors import InputError

EXTRA_OF = {"dask_jobqueue": "jobqueue", "asyncssh": "ssh"}

OWN_GROUPS = Path("/proc/self/cgroup")
CONTROL_GROUPS = Path("/sys/fs/cgroup")

WORKER_ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": str(2**28),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_ARENA_MAX": "1",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}
"""The first two let a worker reuse the memory of a patch instead of returning it to the system: a patch of the shipped
network then takes 0.23 CPU seconds, not 0.31. The last two keep a worker's memory constant; without them it grows by a
fifth to a third in ten minutes (`tests.benchmarks.soak`).
"""


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
                limits.append(int((group / name).read_text()))
    return min(limits)


def _cores_allowed() -> float:
    """Cores that a container or a job in a queue may use; infinite where nothing limits them."""
    limits = [math.inf]
    for group in _control_groups("cpu"):
        with suppress(OSError, ValueError):  # "max"
            quota, period = (group / "cpu.max").read_text().split()
            limits.append(int(quota) / int(period))
        with suppress(OSError, ValueError):
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
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


def device_here() -> str:
    """Kind of device on which this machine predicts: "cuda" or "cpu". Imports torch only if there may be a GPU."""
    if "torch" not in sys.modules and sys.platform == "linux" and not _has_gpu_driver():
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _has_gpu_driver() -> bool:
    """Whether Linux has the driver of a GPU that torch can use: of NVIDIA, or of AMD."""
    with suppress(OSError):
        ctypes.CDLL("libcuda.so.1")
        return True
    return Path("/dev/kfd").exists()


def precision_here() -> str:
    """The precision in which this machine predicts fast, as `fast_precision` of the network says.

    Importing torch takes seconds, so it is only asked if it is loaded, or if nothing else can tell.
    """
    if "torch" not in sys.modules and device_here() == "cpu" and (known := _has_bfloat16()) is not None:
        return "bfloat16" if known else "float32"
    from bigcp3d.pure.predict.run_network import fast_precision

    return fast_precision(device_here())


def _has_bfloat16() -> bool | None:
    """Whether the processor has instructions for bfloat16, as Linux says; None if it cannot tell."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    try:
        flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return None
    if flags is None:
        return None
    if not {"avx512_bf16", "amx_tile"}.isdisjoint(flags[1].split()):
        return True
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    knows_both = release is not None and (int(release[1]), int(release[2])) >= (5, 13)  # older kernels list neither
    return False if knows_both else None


def operations_per_second() -> float:
    """Floating point operations of one core in a second, in products of float32 matrices. Takes 20 milliseconds."""
    import numpy as np

    number, side, best = 64, 64, float("inf")  # larger matrices are shared by threads, which wait for each other
    matrices = np.full((number, side, side), 0.5, np.float32)
    for _ in range(8):
        start = clock.thread_time()
        matrices @ matrices
        best = min(best, clock.thread_time() - start)
    return 2 * number * side**3 / max(best, 1e-6)


def visible_gpus() -> list[str]:
    """GPUs that torch can use, by their names in ``CUDA_VISIBLE_DEVICES``."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] if named else [str(number) for number in range(count)]


def require(module: str, kind: str) -> None:
    """Raise an `InputError` if a package is not installed, with the command that installs it."""
    if importlib.util.find_spec(module) is None:
        raise InputError(
            f"cluster {kind} needs the package {module.replace('_', '-')}, which is not installed; install it: pip "
            f"install 'bigcp3d[{EXTRA_OF[module]}]'"
        )


def require_command(command: str, kind: str) -> None:
    """Raise an `InputError` if a command of a queue is not installed."""
    if shutil.which(command) is None:
        raise InputError(
            f"cluster {kind} needs the command {command}, which is not on this machine's PATH; run bigcp3d where jobs "
            "are submitted, or start workers by hand and give --scheduler"
        )
