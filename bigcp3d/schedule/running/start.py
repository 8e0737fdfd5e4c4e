"""The work directory over a run's life: begun, carried on, refused to others, removed.

Invariant: a work directory belongs to one plan. It goes away when the labels are finished (all but the maps, where they
are to be kept), or when the user says ``--overwrite``; until then only what no task will read again goes
(`bigcp3d.work.passes.removal`). Where a finished run has kept its maps, a run that starts from them may begin in their
own directory; they outlive it, however it ends.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

from bigcp3d.edge.image.metadata import own_part
from bigcp3d.edge.image.open_node import open_node
from bigcp3d.edge.labels.check_target import check_space
from bigcp3d.edge.labels.labels import check_target
from bigcp3d.edge.stores.check_writable import check_folder
from bigcp3d.edge.stores.places import is_address, place, same_place
from bigcp3d.edge.stores.remote import Remote
from bigcp3d.edge.workdir.lock_file import LOCK
from bigcp3d.edge.workdir.records import read_record, write_record
from bigcp3d.errors import TargetError
from bigcp3d.schedule.running.events import Summary
from bigcp3d.schedule.running.run_log import FAILURES
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.run.kept_maps import forget_offsets, read_kept, write_kept
from bigcp3d.work.run.run import ONCE, TRACKED_FOLDER, Run
from bigcp3d.work.run.task_costs import TaskSpent
from bigcp3d.work.run.unreadable_input import read_lost

ENDED = "ended"
PLAN_PART = "plan.json.part"


def check_start(plan: Plan, *, overwrite: bool) -> bool:
    """Whether this plan was begun before; refuses a work directory or a target that belongs to something else."""
    if read_ended(plan) is not None:
        return True
    root, resumed = Path(plan.work_dir), False
    check_folder(root, cure="give another --work-dir")
    path = root / "plan.json"
    own = _starts_here(plan)
    maps = None if plan.maps is None or is_address(plan.maps) else Path(plan.maps)
    if maps is not None and not own and root.resolve() in maps.resolve().parents:
        raise TargetError(
            f"the maps {plan.maps} lie in the work directory of this run, {plan.work_dir}, which is removed "
            "when it begins; give another --name or --work-dir, or leave --maps out: kept maps are found"
        )
    if path.exists():
        try:
            other = Plan.model_validate_json(path.read_bytes())
        except (ValueError, OSError):
            other = None
        finished = (Path(plan.work_dir) / "finished").exists()
        lost = other is not None and plan.keeps_maps and not other.keeps_maps
        resumed = other is not None and other.key == plan.key and not finished and not lost
        if not resumed and not overwrite and not (own and finished):
            more = ["--keep-maps now, but some may be gone"] if lost else []
            why = "; ".join(plan.differences(other) + more) if other else "its plan cannot be read"
            raise TargetError(
                f"{plan.work_dir} holds {'kept maps of a finished' if finished else 'an unfinished'} run"
                f"{' with other settings (' + why + ')' if why else ''}; repeat the command that began it to carry on, "
                "give another --name or --work-dir, or --overwrite to discard it"
            )
    elif root.exists() and any(child.name not in (ENDED, PLAN_PART) for child in _contents(root)):
        raise TargetError(f"work directory {plan.work_dir} is not empty and not bigcp3d's; give another --work-dir")
    if resumed and plan.on_error == "fail" and (given_up := read_lost(Run(plan))):
        raise TargetError(
            f"{plan.work_dir} holds an unfinished run that has given up {len(given_up)} chunks ({given_up[0]}); "
            "carry on with --on-error skip, or remove that directory to begin anew"
        )
    if resumed:
        _refuse_labels_of_others(plan)
    began = resumed and read_record(Path(plan.work_dir) / "records", "creating", ONCE) is not None
    check_target(plan.target, overwrite=overwrite or began, need_bytes=_least_disk_bytes(plan))
    if is_address(plan.target.group):
        check_space(root, _least_disk_bytes(plan))
    return resumed


def _refuse_labels_of_others(plan: Plan) -> None:
    """Refuse to write into arrays that another run, with another work directory, has put in the place of this one's."""
    made = read_record(Path(plan.work_dir) / "records", "create", ONCE)
    if made is None:
        return
    path = plan.target.path
    said = own_part(open_node(str(path)).attrs.asdict()) if path.exists() else {}
    if not said or said.get("id") != made.get("id"):
        raise TargetError(
            f"{path}: found {'labels of another run' if path.exists() else 'nothing'} in the place of those that the "
            f"unfinished run in {plan.work_dir} had begun to write; remove that directory, or give another --name"
        )


def _starts_here(plan: Plan) -> bool:
    """Whether a run starts from what is kept in its own work directory."""
    return any(start is not None and same_place(start, plan.work_dir) for start in (plan.maps, plan.tracked))


def _least_disk_bytes(plan: Plan) -> int:
    """What a run writes even if all compresses well: a tenth of the uncompressed size."""
    return sum(plan.disk_bytes().values()) // 10


def prepare(plan: Plan, run: Run, *, resumed: bool, overwrite: bool) -> None:
    """Make the work directory, or keep the one that a run with this plan left.

    Raises
    ------
    TargetError
        If it cannot be written, or the store of the labels cannot.
    """
    root, group = Path(plan.work_dir), place(plan.target.group)
    if isinstance(group, Remote):
        group.check_writable()
    if not resumed and _starts_here(plan):  # while the plan is still that of the run that has finished
        if plan.keeps_offsets:
            forget_offsets(root)
        _remove_all_but(root, "maps", *([] if plan.keeps_offsets else [TRACKED_FOLDER]))
    elif not resumed and overwrite and (root / "plan.json").exists():
        _empty(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(root / ENDED, ignore_errors=True)  # of a run with other settings
        temporary = root / PLAN_PART
        temporary.write_text(plan.model_dump_json(indent=1))
        temporary.replace(root / "plan.json")
        (root / "finished").unlink(missing_ok=True)
        for time in plan.times:
            shutil.rmtree(run.folder(time) / FAILURES, ignore_errors=True)  # they are tried again
            run.create_arrays(time)
    except OSError as error:
        raise TargetError(f"cannot write to work directory {root}: {error}; give another --work-dir") from error


def clean_up(plan: Plan, *, finished: bool = True) -> None:
    """Empty the work directory, but for kept maps: those of this run if it has finished, or an earlier one's.

    What an earlier run has kept stays, as long as it may be used by others.
    """
    root = Path(plan.work_dir)
    if finished and (plan.keeps_maps or plan.keeps_offsets):
        write_kept(Run(plan))
    if read_kept(root) is not None:
        (root / "finished").touch()
        _remove_all_but(root, "maps", TRACKED_FOLDER, "objects.npz", "records")
        shutil.rmtree(root / ENDED, ignore_errors=True)
        return
    _empty(root)


def _contents(root: Path) -> list[Path]:
    """All but the lock, with which the directory itself goes (`bigcp3d.schedule.running.lock`)."""
    return [child for child in root.iterdir() if not child.name.startswith(LOCK)]


def _empty(root: Path) -> None:
    """Remove what is in a work directory; what says whose it is goes last, since this may be killed too.

    Records go first, at once, and those of time points before those of the run: where another run carries on with what
    a kill has left, no task counts as done whose files have gone.
    """
    for records in [*root.glob("t*/records"), root / "records"]:
        if records.exists():
            shutil.rmtree(gone := records.with_name("records.gone"), ignore_errors=True)
            records.replace(gone)
    last = ("logs", "plan.json", ENDED)
    for child in sorted(_contents(root), key=lambda child: last.index(child.name) if child.name in last else -1):
        shutil.rmtree(child) if child.is_dir() else child.unlink()


def write_ended(plan: Plan, summary: Summary) -> None:
    """Say that the labels are finished: all that is left to do is to clean up."""
    write_record(plan.work_dir, ENDED, ONCE, {"key": plan.key, "summary": asdict(summary)})


def read_ended(plan: Plan) -> Summary | None:
    """What a run with this plan did, where it was killed while it cleaned up; else None."""
    record = read_record(plan.work_dir, ENDED, ONCE)
    if record is None or record["key"] != plan.key or not plan.target.path.exists():
        return None
    tasks = [TaskSpent(**{**task, "index": tuple(task["index"])}) for task in record["summary"].pop("tasks")]
    return Summary(**record["summary"], tasks=tasks)


def _remove_all_but(root: Path, *kept: str) -> None:
    """Remove what lies beside some things in the folders of time points; and the records of the whole run."""
    inside = [child for folder in root.glob("t*/") for child in folder.iterdir()]
    for child in [*inside, *(root / name for name in ("records", "records.gone", "logs"))]:
        if child.name not in kept and child.exists():
            shutil.rmtree(child) if child.is_dir() else child.unlink()
