"""What this machine has: GPUs, speed, packages and commands. Imports no Dask."""

from __future__ import annotations

import ctypes
import importlib.util
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


def processor_here() -> str:
    """Kind of processor or GPU with which this machine predicts."""
    from bigcp3d.pure.predict.run_network import processor_kind

    return processor_kind(device_here())


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
