"""Compares the free space of disks with what a run will write: work directory and labels, each on its file system.

A plan knows the bytes before compression, which typical volumes never need: they compress two to ten times. So less
free space than that is a warning, and less than a tenth of it an error. Object stores have no size. A run that is
carried on needs space only for what is left.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bigcp3d.edge.stores.check_writable import nearest_there
from bigcp3d.errors import TargetError
from bigcp3d.pure.memory import format_bytes
from bigcp3d.schedule.running.tasks import count_passes, label_passes, object_passes
from bigcp3d.work.plan.memory_and_disk import disk_bytes, most_files
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.run.work_dir import WorkDir

LEAST = 10
"""No volume compresses so many times on average."""


@dataclass(frozen=True)
class DiskNeed:
    """What a run will write to a file system, before compression, and what is free there."""

    paths: tuple[Path, ...]
    need_bytes: int
    free_bytes: int

    def __str__(self) -> str:
        places = " and ".join(map(str, self.paths))
        return f"{format_bytes(self.free_bytes)} are free on the disk of {places}"


def find_needs(plan: Plan, *, resumed: bool) -> list[DiskNeed]:
    """What a run will write to each file system. ``resumed`` says that its work directory holds a part of the run."""
    need = disk_bytes(plan)
    if resumed:
        need = {what: int(number * _share_left(plan, what)) for what, number in need.items()}
    labels = need.pop("labels")
    places = [(Path(plan.storage.work_dir), sum(need.values()))]
    if isinstance(plan.output.target.path, Path):
        places.append((plan.output.target.path, labels))
    disks: dict[int, list[tuple[Path, int]]] = {}
    for path, number in places:
        disks.setdefault(os.stat(nearest_there(path)).st_dev, []).append((path, number))
    return [
        DiskNeed(
            tuple(path for path, _ in shared),
            sum(number for _, number in shared),
            shutil.disk_usage(nearest_there(shared[0][0])).free,
        )
        for shared in disks.values()
    ]


def _share_left(plan: Plan, what: str) -> float:
    """The share of the tasks that write something and are not recorded as done."""
    maps = "merge" if plan.patch_blocks.hand_over else "predict"
    name = {"maps": maps, "parts": "predict", "offsets": "track", "labels": "label"}[what]
    number, _ = count_passes(label_passes(plan) if what == "labels" else object_passes(plan)).get(name, (0, 0))
    work = WorkDir.of(plan)
    done = sum(1 for time in plan.where.times for _ in (work.records(time) / name).glob("*.json"))
    return max(number - done, 0) / max(number, 1)


def check_run_space(plan: Plan, *, resumed: bool) -> None:
    """Raise a `TargetError` where a disk cannot hold what the run will write, however well it compresses."""
    for disk in find_needs(plan, resumed=resumed):
        if disk.free_bytes * LEAST < disk.need_bytes:
            raise TargetError(
                f"at least {format_bytes(disk.need_bytes // LEAST)} are needed, and {disk}; free space, or give "
                "another --output or --work-dir"
            )


def warn_of_space(plan: Plan, *, resumed: bool) -> Iterator[str]:
    """A warning for each disk that may fill up."""
    for disk in find_needs(plan, resumed=resumed):
        if disk.free_bytes < disk.need_bytes:
            yield (
                f"{disk}, and up to {format_bytes(disk.need_bytes)} will be written there (mostly a half to a tenth of "
                "it, since it is compressed). If the disk fills up, the run stops, and the same command continues it"
            )
    if (files := _free_files(nearest_there(Path(plan.storage.work_dir)))) is not None and files < most_files(plan):
        yield (
            f"the disk of {plan.storage.work_dir} can take {files:,} more files, and the run needs up to "
            f"{most_files(plan):,}; give a larger --block, or another --work-dir"
        )


def _free_files(path: Path) -> int | None:
    """How many files a file system can still take; None where it does not say."""
    if not hasattr(os, "statvfs"):  # Windows
        return None
    said = os.statvfs(path)
    return said.f_favail if said.f_files else None
