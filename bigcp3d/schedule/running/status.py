"""Reads what runs have done so far from their records and locks, and what finished labels are. Nothing is changed.

A run is found by its work directory. In the default place it is also found by its labels, or by their store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import zarr

from bigcp3d.edge.image.image import label_names
from bigcp3d.edge.image.open_node import explain_folder, is_collection, open_node
from bigcp3d.edge.labels.edit_log import Change, EditLog
from bigcp3d.edge.labels.made_labels import MadeLabels, read_made
from bigcp3d.edge.stores.places import Place, place
from bigcp3d.edge.workdir.lock_file import LockFile
from bigcp3d.edge.workdir.records import list_passes, read_record, read_records
from bigcp3d.errors import InputError
from bigcp3d.pure.plural import count
from bigcp3d.schedule.running.lock import describe_holder
from bigcp3d.schedule.running.tasks import count_passes, label_passes, object_passes
from bigcp3d.schedule.update_files import ASKED, DECIDED, SUFFIX
from bigcp3d.work.plan.plan import PLAN_FILE, Plan, read_plan
from bigcp3d.work.run.task_costs import TaskSpent, read_spent
from bigcp3d.work.run.work_dir import WorkDir, default_work_dir, find_work_dirs, home_of_runs

STILL = "still runs"

MOST_FAILED = 1000
"""Failed tasks that are listed, at most."""


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
    says which process holds the lock, and ``since`` when it began, in seconds since 1970; 0 if the run is not running.
    ``passes`` are all passes in their order. ``done`` gives the finished tasks, in any order: one by one, and once.
    ``failed`` are the errors of tasks that failed and are still not done, and ``more_failed`` are not listed.
    """

    work_dir: str
    labels: str
    state: str
    holder: str
    since: float
    passes: list[PassTotal]
    done: Iterator[TaskSpent]
    failed: list[str]
    more_failed: int


def find_runs(path: str | Path) -> list[Path]:
    """Work directories that belong to a path: those of runs that have not ended, or that have kept maps."""
    spot = place(path)
    if isinstance(spot, Path) and (spot / PLAN_FILE).is_file():
        return [spot]
    if spot.parent.name == "labels":
        default = default_work_dir(str(spot.parent.parent), spot.name)
        if (default / PLAN_FILE).is_file():
            return [default]
    return [work.root for work in find_work_dirs(home_of_runs(spot))]


def find_updates(path: str | Path) -> list[str]:
    """A line for each update, correction or undo of labels that was begun and has not ended."""
    spot, lines = place(path), []
    if spot.parent.name == "labels":
        store, homes = spot.parent.parent, [default_work_dir(str(spot.parent.parent), f"{spot.name}{SUFFIX}")]
    else:
        store, homes = spot, sorted(home_of_runs(spot).glob(f"*{SUFFIX}"))
    changing = dict[str, Change]()
    for name in {*(home.name.removesuffix(SUFFIX) for home in homes), *_labels_in(store)}:
        with suppress(InputError):  # a server that does not answer just now; the run is known without it
            if (change := EditLog(store / "labels" / name).pending()) is not None:
                changing[name] = change
    for home in homes:
        name = home.name.removesuffix(SUFFIX)
        update = name in changing and changing[name].kind == "update"
        if (home / ASKED).exists() and (update or not (home / DECIDED).exists()):
            cure = "the same command continues it, and 'bigcp3d update --undo' discards it"
            lines.append(f"labels {name!r}: an update {_state(LockFile(home))}; {cure}")
            changing.pop(name, None)
    for name, change in sorted(changing.items()):
        state = _state(LockFile(default_work_dir(str(store), name)))
        cure = "" if state == STILL else "; 'bigcp3d edit STORE settle' repairs the labels, and so does any change"
        lines.append(f"labels {name!r}: {change.kind} {state}{cure}")
    return lines


def _state(lock: LockFile) -> str:
    return STILL if (describe_holder(lock) or ("", False))[1] else "was stopped"


def _labels_in(store: Place) -> list[str]:
    """Names of the labels in a local store."""
    labels = store / "labels"
    if not isinstance(labels, Path) or not labels.is_dir():
        return []
    return [child.name for child in labels.iterdir() if child.is_dir()]


def find_finished(path: str | Path) -> list[MadeLabels]:
    """The finished labels of a store, or those at a path. Raises an `InputError` if there are none."""
    spot, group = place(path), None
    try:
        group = open_node(str(spot))
        names = [] if isinstance(group, zarr.Array) else label_names(str(spot), group)
        made = [read_made(spot / "labels" / name) for name in names] or [read_made(spot)]
    except InputError:
        made = []
    if not (made := [one for one in made if one.finished and one.is_labels]):
        if isinstance(group, zarr.Group) and is_collection(group):
            raise InputError(explain_folder(str(spot), group))
        raise InputError(
            f"{spot}: there is no run and there are no finished labels here; give a work directory, the path of the "
            "labels, or their store. A run that was started with --work-dir and has not ended is found only by that "
            "directory"
        )
    return made


def read_status(work_dir: Path) -> RunStatus:
    """What the run of a work directory has done. Raises an `InputError` if its plan cannot be read."""
    plan, lock = read_plan(work_dir), LockFile(work_dir)
    work = WorkDir(work_dir)  # the plan may name it by another path
    holder, lives = describe_holder(lock) or ("", False)
    held = lock.read()
    counts = count_passes([*object_passes(plan), *label_passes(plan)])
    failures = _failures(work, plan)
    failed = sorted(islice(failures, MOST_FAILED))
    return RunStatus(
        work_dir=str(work_dir),
        labels=str(plan.output.target.path),
        state="running" if lives else "finished" if work.finished.exists() else "stopped",
        holder=holder,
        since=held[0].since if lives and held is not None and held[0] is not None else 0.0,
        passes=[PassTotal(name, *count) for name, count in counts.items()],
        done=read_spent(work, plan.where.times),
        failed=failed,
        more_failed=sum(1 for _ in failures),
    )


def describe_leftovers(store: str | Path) -> Iterator[str]:
    """One line for each work directory of a run on a store, in the default place."""
    for work in find_work_dirs(home_of_runs(store)):
        name = work.root.name
        try:
            plan = read_plan(work.root)
        except InputError as error:
            yield str(error)
            continue
        if work.finished.exists():
            yield f"{work.root}: kept maps of labels {name!r}; a run that would predict the same maps uses them"
            continue
        blocks = len(plan.grid) * len(plan.where.times)
        records = Counter(path.parent.name for path in sorted(work.own.glob("t*/records/*/*.json")))
        done = ", ".join(f"{pass_name} {number}" for pass_name, number in records.items()) or "nothing"
        said = f"unfinished run of labels {name!r}, {count(blocks, 'block')}; recorded: {done}"
        yield f"{work.root}: {said}; to continue it, repeat the command that began it"


def _failures(work: WorkDir, plan: Plan) -> Iterator[str]:
    for time in plan.where.times:
        folder = work.failures(time)
        for label in list_passes(folder):
            for block, data, _ in read_records(folder, label):
                if read_record(work.records(time), label, block) is None:
                    yield f"{data['pass']} of block {tuple(data['index'])}, time {time}: {data['error']}"
