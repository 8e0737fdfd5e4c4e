"""Makes the labels of a region again in place, with other settings or after a correction by hand. Other ids stay.

1. The settings are those of the labels, unless the user says others (`bigcp3d.schedule.planning.recorded_settings`).
2. The region is segmented beside the labels, and it is decided which cells stay, come and go.
3. The labels change, as one change in their log (`bigcp3d.work.change_labels`), which can be taken back.

The same command resumes an update that was stopped. If the labels were replaced meanwhile, the update begins again.
`bigcp3d.schedule.update_files` has the files.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.labels.edit_log import Change, EditLog, who_and_when
from bigcp3d.edge.labels.labels_to_update import identify, open_target, refuse_ids_above
from bigcp3d.edge.workdir.tables import SUFFIX, read_table, write_table
from bigcp3d.errors import InputError, LossError
from bigcp3d.option import settings_of, takes
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.plural import count
from bigcp3d.pure.replacement import Replacement
from bigcp3d.schedule.measure import warn_of_old_table
from bigcp3d.schedule.plan_update import UpdateWork, notes_on_earlier, plan_update, settings_of_update
from bigcp3d.schedule.planning.request import Request, UpdateRequest, decides_labels
from bigcp3d.schedule.running.events import Noted, Observer
from bigcp3d.schedule.running.lock import find_locks, hold_locks
from bigcp3d.schedule.segment import segment
from bigcp3d.work.change_labels import change_labels, settle
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.update_labels import compare_region, find_largest_id, largest_used, replace_region


@dataclass(frozen=True)
class Updated:
    """The result of an update.

    Attributes
    ----------
    labels : str
        Path of the labels group.
    came, gone, kept, same, stayed : int
        Numbers of cells. ``came``: found inside the region. ``gone``: earlier cells there without a successor.
        ``kept``: cells of ``came`` that keep the id of an earlier cell. ``same``: cells of ``kept`` with the same
        voxels as before. ``stayed``: not changed, because the region's border cuts them or their successors.
    """

    labels: str
    came: int = 0
    gone: int = 0
    kept: int = 0
    same: int = 0
    stayed: int = 0


@takes(UpdateRequest)
def update(source: str | Path, *, on_event: Observer | None = None, **arguments: Any) -> Updated:
    """Segment a region of labelled data again, and replace the cells inside it.

    Settings that are not given are those of the labels, not the defaults of `segment`. ``output`` and ``name`` say
    which labels; these must be those of level 0. No table is written. Cells that the region's border cuts are not
    changed. `undo_update` takes the update back, and so does `Edits.undo`.

    Parameters
    ----------
    **arguments
    on_event : callable, optional
        Receives the events of the segmentation, and a `Noted` for each setting that differs from the labels'.

    Returns
    -------
    Updated

    Raises
    ------
    InputError, ModelError, TargetError
        Before anything is changed.
    LossError
        If more than half of the cells that lie inside the region would be gone without a successor: no new cell keeps
        their id. Nothing is changed. The same call with ``yes`` is then quick.

    Notes
    -----
    A new cell gets the id of an old one if their IoU is above 0.5 (the voxels that both have, divided by those that
    either has). Others get new ids; all labels are read once to find them. Ids are then no longer consecutive, nor in
    raster order.

    Examples
    --------
    >>> done = bigcp3d.update("tissue.zarr", roi=":,0:40,0:40", foreground=0.6, executor="serial")
    >>> done.came >= done.same
    True
    """
    request = UpdateRequest(source, **arguments)
    request.check()
    deciding = {name for name, each in settings_of(Request).items() if decides_labels(each)}
    said = {name: arguments[name] for name in deciding & set(arguments) if arguments[name] is not None}
    observe: Observer = on_event or (lambda event: None)
    image = open_image(source)
    target = open_target(image, request.output, request.name)
    work = plan_update(request, said, image, target, observe)
    log = EditLog(target.path)
    with hold_locks(find_locks(work.files.home, target)) as held, log.confirmed_by(held.confirm):
        complete, asked = work.files.is_complete(log), (settings_of_update(work), identify(target))
        if (stopped := settle(target, log)) is not None:
            observe(Noted(f"an earlier {stopped.kind} was stopped half-way; it was completed or taken back first"))
        if complete:
            done = _count(work) if work.files.was_asked(*asked) else None
            work.files.end()
            if done is not None:
                return done
        work.files.begin(*asked)
        for line in [] if request.edited else notes_on_earlier(work, log):
            observe(Noted(line))
        return _update(work, observe, log)


def _update(work: UpdateWork, observe: Observer, log: EditLog) -> Updated:
    """Work out what changes, then change it."""
    request, target, files = work.request, work.target, work.files
    _decide(work, observe)
    done = _count(work)
    files.decided.touch()
    if request.dry_run:
        return done
    _refuse_loss(request, done)
    change = _as_change(work, log, done)
    change_labels(target, log, change, work.wanted, work.times, partial(_replace, work), counted=files.end)
    warn_of_old_table(target, observe)
    return done


def _as_change(work: UpdateWork, log: EditLog, done: Updated) -> Change:
    """The update as a line of the log of changes."""
    changes, largest = log.changes(), [0]
    largest += [int(read_table(path)["largest"]) for path in work.files.home.glob(f"*{SUFFIX}")]
    if work.request.edited:  # somebody may have painted new ids
        largest.append(find_largest_id(work.target))
    who, when = who_and_when()
    given: dict[str, Any] = {"roi": [*zip(work.wanted.start, work.wanted.stop, strict=True)], "times": work.times}
    given |= {"edited": work.request.edited, "said": work.settings.changed}
    if (plan := work.plan) is not None:
        given |= {"foreground": plan.tracking.foreground, "closing_vox": plan.grouping.closing_vox}
        given |= {"reach": plan.tracking.reach, "model": work.settings.arguments.get("model")}
        given |= {"filters": asdict(plan.filters)}
    given |= {name: number for name, number in asdict(done).items() if name != "labels"}
    most = max([*largest, *(change.largest_id for change in changes)])
    return Change(len(changes) + 1, "update", who, when, given=given, largest_id=most)


def _refuse_loss(request: UpdateRequest, done: Updated) -> None:
    """Refuse an update after which most cells have no successor, unless the user wants it."""
    if done.gone > done.kept and not request.yes:
        raise LossError(
            f"{done.labels}: {done.gone} of the {count(done.gone + done.kept, 'cell')} inside the region would "
            f"disappear, and {done.came} new ones would appear; nothing was changed. Give other settings, or --yes to "
            "apply the update"
        )


def _decide(work: UpdateWork, observe: Observer) -> None:
    """Segment the region and its surroundings, and write down which cells change.

    Until voxels change, this is decided again each time, since somebody may edit the labels meanwhile.
    """
    if work.plan is None:  # after a correction by hand
        return
    target, files, around = work.target, work.files, _label_box(work.plan)
    if not _is_there(files.found):
        ends = tuple(zip(around.start, around.stop, strict=True))
        place = {"output": files.found, "name": "found", "work_dir": files.run, "roi": ends, "overwrite": False}
        segment(**{**work.arguments, **place}, on_event=observe)
    found = open_labels(files.found, "found")
    next_id = 1 + largest_used(target, EditLog(target.path).changes(), read=True)  # others may have painted new ids
    for time in work.times:
        try:
            made = compare_region(target, found, work.wanted, around, next_id=next_id, time=time)
        except OverflowError:
            refuse_ids_above(target, 2**64)
            raise
        next_id = max([next_id, *(int(i) + 1 for i in made.ids)])
        refuse_ids_above(target, next_id - 1)
        write_table(files.decision(time), largest=next_id - 1, **asdict(made))


def _read_decisions(work: UpdateWork) -> dict[int, Replacement]:
    """What was decided for each time point; nothing after a correction by hand."""
    tables = {time: read_table(work.files.decision(time)) for time in work.times if work.plan is not None}
    counts = {time: {name: int(table[name]) for name in ("gone", "kept", "same")} for time, table in tables.items()}
    return {time: Replacement(t["staying"], t["found"], t["ids"], **counts[time]) for time, t in tables.items()}


def _count(work: UpdateWork) -> Updated:
    """The cells of all time points."""
    total = Counter[str]()
    for made in _read_decisions(work).values():
        total.update(came=len(made.ids), gone=made.gone, kept=made.kept, same=made.same, stayed=len(made.staying))
    return Updated(str(work.target.path), **total)


def _replace(work: UpdateWork) -> None:
    """Write the voxels of the cells that change at level 0; may be repeated."""
    for time, made in _read_decisions(work).items():
        replace_region(work.target, open_labels(work.files.found, "found"), work.wanted, made, time=time)


def _is_there(store: Path) -> bool:
    """Whether the region was segmented to the end; labels are listed last."""
    try:
        open_labels(store, "found")
    except InputError:
        return False
    return True


def _label_box(plan: Plan) -> Box:
    """The box of the label image that covers all that is tracked for the region."""
    return plan.scope.tracked.scaled(plan.output.label_factors).clip(plan.output.target.levels[0].shape)
