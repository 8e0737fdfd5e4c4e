"""What a run has done so far, from its records and its lock; nothing is changed.

A run is found by its work directory. In the default place it is also found by its labels, or by the store that gets
them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bigcp3d.edge.stores.places import place
from bigcp3d.edge.workdir.lock_file import LockFile
from bigcp3d.edge.workdir.records import list_passes, read_records
from bigcp3d.errors import InputError
from bigcp3d.schedule.planning.find_kept_maps import default_work_dir
from bigcp3d.schedule.running.lock import describe_holder
from bigcp3d.schedule.running.tasks import label_tasks, object_tasks
from bigcp3d.work.plan.plan import PLAN_FILE, Plan, read_plan
from bigcp3d.work.run.task_costs import TaskSpent, read_spent
from bigcp3d.work.run.work_dir import WorkDir, find_work_dirs


@dataclass(frozen=True)
class PassTotal:
    """Tasks of a pass, and their voxels."""

    name: str
    tasks: int
    voxels: int


@dataclass(frozen=True)
class RunStatus:
    """A run as its records show it.

    ``state`` is "running", "stopped" (the same command carries on) or "finished" (only kept maps are left). ``holder``
    says which process runs it, or ran it last where that left its lock; ``since`` is when the process that runs it
    began, in seconds since 1970, 0 where none does. ``passes`` are all there is to do, in order; ``done`` are finished
    tasks in the order in which they began, and ``failed`` those that failed and are not done since, with their errors.
    """

    work_dir: str
    labels: str
    state: str
    holder: str
    since: float
    passes: list[PassTotal]
    done: list[TaskSpent]
    failed: list[str]


def find_runs(path: str | Path) -> list[Path]:
    """Work directories that a path stands for; at least one, or an `InputError`."""
    spot = place(path)
    if isinstance(spot, Path) and (spot / PLAN_FILE).is_file():
        return [spot]
    if spot.parent.name == "labels":
        default = default_work_dir(str(spot.parent.parent), spot.name)
        if (default / PLAN_FILE).is_file():
            return [default]
    found = [work.root for work in find_work_dirs(default_work_dir(str(spot), "x").parent)]
    if not found:
        raise InputError(
            f"{spot}: found no run that is unfinished; needed is a work directory, the path of its labels, or the "
            "store that gets them. A run that has ended well leaves none; one with --work-dir is found by that"
        )
    return found


def read_status(work_dir: Path) -> RunStatus:
    """What the run of a work directory has done; an `InputError` where its plan cannot be read."""
    plan, lock = read_plan(work_dir), LockFile(work_dir)
    work = WorkDir(work_dir)  # not the plan's: it may be seen under another path here
    holder, lives = describe_holder(lock) or ("", False)
    held = lock.read()
    tasks, voxels = Counter[str](), Counter[str]()
    for make in (object_tasks, label_tasks):
        for task in make(plan):
            tasks[task.key[0]] += 1
            voxels[task.key[0]] += task.voxels
    done = read_spent(work, plan.where.times)
    return RunStatus(
        work_dir=str(work_dir),
        labels=str(plan.output.target.path),
        state="running" if lives else "finished" if work.finished.exists() else "stopped",
        holder=holder,
        since=held[0].since if lives and held is not None and held[0] is not None else 0.0,
        passes=[PassTotal(name, count, voxels[name]) for name, count in tasks.items()],
        done=done,
        failed=list(_failures(work, plan, {(task.name, task.time, task.index) for task in done})),
    )


def _failures(work: WorkDir, plan: Plan, done: set[tuple[str, int, tuple[int, ...]]]) -> Iterator[str]:
    """Failed tasks that are not done since."""
    for time in plan.where.times:
        folder = work.failures(time)
        for label in list_passes(folder):
            for _, data, _ in read_records(folder, label):
                index = tuple(data["index"])
                if (data["pass"], time, index) not in done:
                    yield f"{data['pass']} of block {index}, time {time}: {data['error']}"
