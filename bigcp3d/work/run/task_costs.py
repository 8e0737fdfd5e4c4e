"""What each task of a run took: when it began, how long it ran, on which worker, with how much memory.

This is in a task's record, apart from what the task counted, so neither results nor resuming depend on it. Records are
removed with the work directory. Before, `bigcp3d.work.run.run_costs` sums them up for the labels' attributes.
"""

from __future__ import annotations

import os
import socket
import sys
import time as clock
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from bigcp3d.edge.stores import platforms
from bigcp3d.edge.workdir.records import list_passes, read_records
from bigcp3d.pure.boxes import Vec3
from bigcp3d.work.run.work_dir import WorkDir


@dataclass(frozen=True)
class TaskSpent:
    """One finished task.

    ``name``, ``time`` and ``index`` are its key (`bigcp3d.schedule.running.tasks.Key`); ``voxels`` are those
    that it fills. ``began`` is in seconds since 1970 on the clock of ``worker`` (``host:pid``). ``peak_bytes`` is the
    largest resident size of the worker while the task ran (outside Linux: since the worker started), and
    ``gpu_peak_bytes`` the most memory that torch held on the GPU. Both are 0 where they are not known.
    """

    name: str
    time: int
    index: tuple[int, ...]
    voxels: int
    began: float = 0.0
    seconds: float = 0.0
    worker: str = ""
    peak_bytes: int = 0
    gpu_peak_bytes: int = 0


class Meter:
    """Measures what runs in its context. The peak of memory is that of the process, with all its threads."""

    def __enter__(self) -> Self:
        _forget_peak()
        if (cuda := _cuda()) is not None:
            cuda.reset_peak_memory_stats()
        self.began, self._start = clock.time(), clock.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.seconds, self.peak_bytes = clock.perf_counter() - self._start, _peak_bytes()
        cuda = _cuda()
        self.gpu_peak_bytes = 0 if cuda is None else int(cuda.max_memory_reserved())

    def spent(self) -> dict[str, Any]:
        """What goes into the record."""
        measured = {name: getattr(self, name) for name in ("began", "seconds", "peak_bytes", "gpu_peak_bytes")}
        return {**measured, "worker": this_worker()}


def this_worker() -> str:
    """Name of the calling process, ``host:pid``."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _cuda() -> Any:
    """``torch.cuda`` if this process uses a GPU; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def _forget_peak() -> None:
    """Let Linux measure the peak of this process anew."""
    with suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def _peak_bytes() -> int:
    """Peak resident size of this process, from Linux's own figure where there is one."""
    with suppress(OSError, StopIteration), open("/proc/self/status", encoding="utf-8") as status:
        return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])
    return platforms.peak_bytes()


def read_spent(work: WorkDir, times: Iterable[int]) -> Iterator[TaskSpent]:
    """Every finished task of some time points, one by one: a large run has millions."""
    for time in times:
        for label in list_passes(work.records(time)):
            for found in read_records(work.records(time), label):
                yield _row(label, time, *found)


def _row(label: str, time: int, block: Vec3, counts: dict[str, Any], spent: dict[str, Any]) -> TaskSpent:
    """A record as a row; ``pyramid2`` is level 2 of the pass ``pyramid``."""
    name = label.rstrip("0123456789")
    index = (int(label[len(name) :]), *block) if name != label else block
    return TaskSpent(name, time, index, counts.get("voxels", 0), **{"seconds": counts.get("seconds", 0.0), **spent})
