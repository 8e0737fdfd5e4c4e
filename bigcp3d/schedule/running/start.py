"""Begins, resumes and ends a run in its work directory, or refuses it.

A work directory belongs to one plan. It is removed, except kept maps, when the labels are finished or with
``--overwrite``. Kept maps go only with ``--overwrite --from image``. Before that, only files that no task reads
again are removed (`bigcp3d.work.passes.removal`). A run that starts from kept maps may use their directory; the maps
always stay.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from bigcp3d.edge.image.given_maps import KEPT
from bigcp3d.edge.image.open_node import read_attributes
from bigcp3d.edge.labels.check_target import check_target
from bigcp3d.edge.labels.made_labels import labels_id
from bigcp3d.edge.stores import platforms
from bigcp3d.edge.stores.check_writable import check_folder
from bigcp3d.edge.stores.places import is_address, lies_in, place, same_place
from bigcp3d.edge.stores.remote import Remote
from bigcp3d.edge.stores.zarr_write import is_group
from bigcp3d.edge.workdir.lock_file import LOCK
from bigcp3d.edge.workdir.records import read_record, write_record
from bigcp3d.errors import InputError, TargetError
from bigcp3d.pure.plural import count
from bigcp3d.pure.read_ahead import THREADS, read_each
from bigcp3d.schedule.running.disk_space import check_run_space, warn_of_space
from bigcp3d.schedule.running.events import Summary
from bigcp3d.schedule.running.long_paths import check_paths, warn_of_paths
from bigcp3d.work.plan.plan import PLAN_FILE, Plan, read_plan
from bigcp3d.work.run.kept_maps import read_kept, write_kept
from bigcp3d.work.run.unreadable_input import read_lost
from bigcp3d.work.run.work_dir import ONCE, RUN, WorkDir, new_run

ENDED = "ended"
PLAN_PART = f"{PLAN_FILE}.part"
OTHER_DIR = "give another --work-dir"


@dataclass(frozen=True)
class Ended:
    """How far a run is that has finished its labels.

    ``told`` is whether their table and report are written too, so that only files must be removed. ``keep_maps`` is
    whether the run has kept all maps.
    """

    summary: Summary
    told: bool
    keep_maps: bool


class State(Enum):
    """What a plan finds in its work directory."""

    NEW = "nothing"
    FOREIGN = "files that are not bigcp3d's"
    OTHER = "an unfinished run"
    KEPT = "kept maps of a finished run"
    RESUMABLE = "an unfinished run with this plan"
    ENDED = "a run with this plan that has finished its labels, and was stopped before it had cleaned up"


def find_state(plan: Plan) -> State:
    """What a plan finds in its work directory."""
    work = WorkDir.of(plan)
    if read_ended(plan) is not None:
        return State.ENDED
    if not work.plan.exists():
        foreign = work.root.is_dir() and any(not _is_left_over(child) for child in _contents(work.root))
        return State.FOREIGN if foreign else State.NEW
    try:
        then = read_plan(work.root)
    except InputError:
        return State.OTHER
    if work.finished.exists():
        return State.KEPT
    return State.OTHER if _differences(plan, then) else State.RESUMABLE


def check_start(plan: Plan, *, overwrite: bool, again: bool = False) -> bool:
    """Whether this plan was begun before. Refuses a work directory or a target of another run.

    ``overwrite`` discards an unfinished run. It discards kept maps only if the user says ``again``: predict once more.
    """
    state = find_state(plan)
    if state is State.ENDED:
        return True
    _check_work_dir(plan, state)
    _refuse_maps_that_would_go(plan)
    maps = state is State.KEPT or (state is State.OTHER and Path(plan.storage.work_dir, KEPT).is_dir())
    kept = maps and not _starts_here(plan)
    if (state is State.OTHER and not overwrite) or (kept and not (overwrite and again)):
        raise _refusal(plan, state, kept)
    if resumed := state is State.RESUMABLE:
        _refuse_what_was_given_up(plan)
        refuse_labels_of_others(plan)
    began = resumed and created_here(plan)
    check_target(plan.output.target, overwrite=overwrite or began)
    check_run_space(plan, resumed=resumed)
    check_paths(plan)
    return resumed


def check_places(plan: Plan, *, overwrite: bool) -> None:
    """Refuse what `check_start` would refuse of any plan with these places, whatever its model and diameter."""
    state, work = find_state(plan), WorkDir.of(plan)
    _check_work_dir(plan, state)
    begun = work.plan.exists() and not work.finished.exists()  # by a run that may have begun to write its labels
    check_target(plan.output.target, overwrite=overwrite or begun)


def _check_work_dir(plan: Plan, state: State) -> None:
    root = Path(plan.storage.work_dir)
    check_folder(root, cure=OTHER_DIR)
    if state is State.FOREIGN:
        raise TargetError(
            f"{root} holds files that bigcp3d did not write, so it cannot be the work directory; give "
            "another --work-dir"
        )
    mask = plan.where.mask
    for spot in (plan.source.image.path, plan.output.target.path, *([] if mask is None else [mask.path])):
        if lies_in(spot, root):
            raise TargetError(f"{spot} lies in the work directory {root}, which the run empties; {OTHER_DIR}")


def warn_of_storage(plan: Plan) -> list[str]:
    """Warnings of disks that the run of this plan may fill, from where it stands now, and of long paths."""
    state = find_state(plan)
    if state is State.ENDED:
        return []
    return [*warn_of_space(plan, resumed=state is State.RESUMABLE), *warn_of_paths(plan)]


def _refusal(plan: Plan, state: State, kept: bool) -> TargetError:
    """The error for a work directory that holds another run, or maps that the run would delete (``kept``)."""
    root = plan.storage.work_dir
    if state is State.KEPT:
        return TargetError(
            f"{root} holds {state.value} that this run does not use ({_why_not_used(plan)}); to keep them, "
            f"{OTHER_DIR}, or another --name; to discard them, remove that directory, or give --overwrite --from image"
        )
    try:
        then = read_plan(root)
    except InputError as error:
        more = " together with --from image, since kept maps lie there too" if kept else ""
        return TargetError(f"{error}{more}. Or give another --name or --work-dir, which do not touch that run")
    differing, block = _differences(plan, then), then.execution.block
    why = f" with other settings ({'; '.join(differing)})" if differing else ""
    same = "" if block == plan.execution.block else f" (on another machine: with --block {' '.join(map(str, block))})"
    discard = "it and the kept maps there, give --overwrite --from image" if kept else "it, give --overwrite"
    return TargetError(
        f"{root} holds {state.value}{why}; to continue it, repeat the command that began it{same}; to discard "
        f"{discard}; to keep it, give another --name or --work-dir"
    )


def _why_not_used(plan: Plan) -> str:
    """Why a run does not start from the maps that are kept in its work directory."""
    if not plan.predicts:
        return "it starts from other maps"
    try:
        kept = read_kept(plan.storage.work_dir)
    except InputError:
        kept = None
    if kept is None:
        return "their record cannot be read"
    others = "another kind of processor or another version of torch predicted them, or --from image was given"
    return "; ".join(kept.differences(plan, None, str)) or others


def _differences(plan: Plan, then: Plan) -> list[str]:
    """Why a run with the plan ``then`` cannot be resumed with this one; empty if it can."""
    lost = plan.storage.keep_maps and not then.storage.keep_maps
    return plan.differences(then) + (["--keep-maps was added, but some maps may be deleted already"] if lost else [])


def _refuse_maps_that_would_go(plan: Plan) -> None:
    """Refuse given maps inside the work directory, which is emptied when the run begins."""
    maps = plan.given.maps
    if maps is None or is_address(maps) or _starts_here(plan):
        return
    if lies_in(maps, plan.storage.work_dir):
        raise TargetError(
            f"the maps {maps} lie in the work directory of this run, {plan.storage.work_dir}, which is emptied at the "
            "start; give another --name or --work-dir, or leave --maps out: kept maps are found without it"
        )


def _refuse_what_was_given_up(plan: Plan) -> None:
    """Refuse to resume a run that has skipped chunks with one that may not skip any."""
    lost_chunks, lost = read_lost(WorkDir.of(plan), plan) if plan.storage.on_error == "fail" else (0, [])
    if lost:
        raise TargetError(
            f"{plan.storage.work_dir} holds an unfinished run that could not read {count(lost_chunks, 'chunk')} "
            f"({lost[0]}) and labelled them background; continue it with --on-error skip, or remove that directory "
            "to start again"
        )


def refuse_labels_of_others(plan: Plan) -> None:
    """Refuse to write into labels that another run, with another work directory, has put in place of this one's."""
    made = WorkDir.of(plan).read_once("create")
    if made is None:
        return
    path = plan.output.target.path
    if labels_id(path) != made["id"]:
        found = "labels of another run are here" if path.exists() else "nothing is here"
        raise TargetError(
            f"{path}: {found}, but the unfinished run in {plan.storage.work_dir} has begun to write labels here; "
            "remove that directory to begin again, or give another --name"
        )


def created_here(plan: Plan) -> bool:
    """Whether what lies in place of the labels is what this run has begun to make there, if anything."""
    made = WorkDir.of(plan).read_once("creating")
    return made is not None and (not _attributes(plan) or labels_id(plan.output.target.path) == made["id"])


def _attributes(plan: Plan) -> dict[str, Any]:
    """The attributes of the labels that are there; empty where there are none."""
    path = plan.output.target.path
    return dict(read_attributes(path)) if is_group(path) else {}


def _starts_here(plan: Plan) -> bool:
    """Whether a run starts from maps that are kept in its own work directory."""
    return plan.given.maps is not None and same_place(plan.given.maps, plan.storage.work_dir)


def name_run(plan: Plan, *, resumed: bool) -> Plan:
    """The plan with the folder of its run: that of the unfinished run, or a new one."""
    run = WorkDir.of(plan).run if resumed else new_run()
    return plan.model_copy(update={"storage": plan.storage.model_copy(update={"run": run})})


def prepare(plan: Plan, *, resumed: bool, overwrite: bool) -> None:
    """Make the work directory, or keep that of an unfinished run with this plan."""
    work, group = WorkDir.of(plan), place(plan.output.target.group)
    if isinstance(group, Remote):
        group.check_writable()
    if not resumed and _starts_here(plan):  # before the plan of the finished run is replaced
        for child in (*_folders_of_runs(work.root), work.logs):
            _remove(child)
    elif not resumed and overwrite and work.plan.exists():
        _empty(work.root)
    try:
        work.root.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(work.root / ENDED, ignore_errors=True)  # from a run with other settings
        temporary = work.root / PLAN_PART
        temporary.write_text(plan.model_dump_json(indent=1), encoding="utf-8")
        platforms.patiently(temporary.replace, work.plan)
        work.finished.unlink(missing_ok=True)
        for time in plan.where.times:
            shutil.rmtree(work.failures(time), ignore_errors=True)  # they are tried again
        work.create_arrays(plan)
    except OSError as error:
        raise TargetError(f"cannot write to work directory {work.root}: {error}; give another --work-dir") from error


def clean_up(plan: Plan, ended: Ended | None = None) -> None:
    """Empty the work directory, except kept maps: those of a run that ended and keeps them, or of an earlier one."""
    work = WorkDir.of(plan)
    if ended is not None and ended.keep_maps:
        summary = ended.summary
        write_kept(plan, summary.processors, lost_chunks=summary.lost_chunks, missing_chunks=summary.missing_chunks)
    if read_kept(work.root) is None:
        _empty(work.root)
        return
    work.finished.touch()
    tables = {path.name for time in plan.where.times for path in work.all_objects(time)}
    others = [folder for folder in _folders_of_runs(work.root) if folder != work.own]
    inside = [child for folder in work.own.glob("t*/") for child in folder.iterdir()]
    for child in [*others, *(child for child in inside if child.name not in {"maps", "records", *tables}), work.logs]:
        _remove(child)
    shutil.rmtree(work.root / ENDED, ignore_errors=True)


def _is_left_over(path: Path) -> bool:
    """Whether a file or folder may be there after a run, from its end or from a task that went on."""
    return path.name in (ENDED, PLAN_PART) or RUN.fullmatch(path.name) is not None


def _folders_of_runs(root: Path) -> list[Path]:
    return [child for child in _contents(root) if RUN.fullmatch(child.name)]


def _contents(root: Path) -> list[Path]:
    """All but the lock, which removes the directory when it is released."""
    return [child for child in root.iterdir() if not child.name.startswith(LOCK)]


def _empty(root: Path) -> None:
    """Remove what is in a work directory, in an order in which a kill at any moment does no harm.

    The folder of the run is renamed first, so that no task counts as done after its files are gone. The files that
    identify the run are removed last.
    """
    work = WorkDir(root)
    if work.run and work.own.exists():
        platforms.patiently(work.own.replace, root / new_run())
    last = ("logs", PLAN_FILE, ENDED)
    for child in sorted(_contents(root), key=lambda child: last.index(child.name) if child.name in last else -1):
        _remove(child)


def write_ended(plan: Plan, ended: Ended) -> None:
    """Record how far a run is that has finished its labels."""
    more = {"key": plan.key, "labels": labels_id(plan.output.target.path)}
    write_record(plan.storage.work_dir, ENDED, ONCE, {**more, **asdict(ended)})


def read_ended(plan: Plan) -> Ended | None:
    """How far a run with this plan is that has finished the labels which are there; else None."""
    record = _ended_record(plan)
    if record is None or record["key"] != plan.key:
        return None
    return Ended(Summary(**record["summary"]), told=record["told"], keep_maps=record["keep_maps"])


def has_ended(plan: Plan) -> bool:
    """Whether a run in this place has finished the labels which are there, whatever its plan."""
    return _ended_record(plan) is not None


def _ended_record(plan: Plan) -> dict[str, Any] | None:
    """The record of a run in this place that has finished the labels which are there, whatever its plan."""
    record = read_record(plan.storage.work_dir, ENDED, ONCE)
    return record if record is not None and record["labels"] == labels_id(plan.output.target.path) else None


def _remove(path: Path) -> None:
    """Remove a file, or a folder: its files in threads, then the empty folders."""
    if not path.is_dir():
        _remove_file(path)
        return
    for _ in read_each(_remove_file, _files_in(path), threads=THREADS):
        pass
    platforms.patiently(shutil.rmtree, path)


def _files_in(folder: Path) -> Iterator[str]:
    """All files in a folder, and in those below it. Links are not followed."""
    for where, _, names in os.walk(folder) if not folder.is_symlink() else ():
        yield from (os.path.join(where, name) for name in names)


def _remove_file(path: str | Path) -> None:
    with suppress(FileNotFoundError):  # by a late worker
        platforms.patiently(os.unlink, path)
