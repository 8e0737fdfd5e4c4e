"""Makes the labels of a region again in place, with other settings or after a correction by hand. Other ids stay.

::

    <store>.bigcp3d/<name>.update/asked.json     the settings; other settings are refused until this update has ended
                                  ended.json     the update has ended, and the folder must be emptied
                                  found.zarr     the region, segmented again
                                  <time>.npz     which cells stay, come and go; decided once
                                  lock.json
    <store>.bigcp3d/<name>.update-run            work directory of the run that segments the region

All changes are written down before the first voxel changes, and may be applied twice. So the same command resumes an
update that was stopped. If the labels were replaced meanwhile, the update begins again.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.labels.labels_to_update import identify, largest_noted, largest_possible, note_update, open_target
from bigcp3d.edge.stores.atomic_files import write_atomically
from bigcp3d.edge.workdir.lock_file import LOCK
from bigcp3d.edge.workdir.tables import read_table, write_table
from bigcp3d.errors import InputError, TargetError
from bigcp3d.option import settings_of, takes
from bigcp3d.pure.boxes import Box, vec3
from bigcp3d.pure.replacement import Replacement
from bigcp3d.schedule.measure import warn_of_old_table
from bigcp3d.schedule.planning.find_kept_maps import default_work_dir
from bigcp3d.schedule.planning.make_plan import make_plan
from bigcp3d.schedule.planning.region import find_region
from bigcp3d.schedule.planning.request import MACHINE, Roi, UpdateRequest
from bigcp3d.schedule.running.events import Observer
from bigcp3d.schedule.running.lock import hold
from bigcp3d.schedule.segment import segment
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.update_labels import compare_region, find_largest_id, renew_pyramid, replace_region

NO_PART = {each.name for each in settings_of(UpdateRequest).values() if each.option.panel == MACHINE}
NO_PART |= {"keep_maps", "overwrite", "start"}
"""Settings that do not change the result of an update."""

ASKED, ENDED = "asked.json", "ended.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Updated:
    """The result of an update.

    Attributes
    ----------
    labels : str
        Path of the labels group.
    came, gone, same, stayed : int
        Cells found inside the region; earlier cells that were removed; cells of ``came`` that have exactly the voxels
        of an earlier one; and cells that were not changed, because the region's border cuts them or their successors.
    """

    labels: str
    came: int
    gone: int
    same: int
    stayed: int


@takes(UpdateRequest)
def update(source: str | Path, *, roi: Roi, on_event: Observer | None = None, **arguments: Any) -> Updated:
    """Segment a region of labelled data again, and replace the cells inside it.

    ``output`` and ``name`` say which labels; these must be those of level 0. No table is written. Cells that the
    region's border cuts are not changed.

    Parameters
    ----------
    **arguments
    on_event : callable, optional
        Receives the events of the segmentation.

    Returns
    -------
    Updated

    Raises
    ------
    InputError, ModelError, TargetError
        Before anything is changed.

    Notes
    -----
    A cell that shares more than half with an earlier one keeps its id. Others get ids that were never used; all labels
    are read once to find them. Ids are then no longer consecutive, nor in raster order.

    Examples
    --------
    >>> done = bigcp3d.update(
    ...     "tissue.zarr", roi=":,0:40,0:40", model="nuclei", diameter_um=14.0, foreground=0.6, executor="serial"
    ... )
    >>> done.came >= done.same
    True
    """
    request = UpdateRequest(source, roi=roi, **arguments)
    request.check()
    if request.labels_level or request.table is not None:
        raise InputError("an update takes no labels_level and no table; leave them out, and run 'measure' afterwards")
    image = open_image(source)
    target = open_target(image, request.output, request.name)
    wanted = find_region(roi, image, request.scale_um) or Box.of_shape(image.levels[0].shape)
    home = default_work_dir(target.group, f"{target.name}.update")
    plan = make_plan(replace(request, work_dir=home))
    with hold(plan):
        _begin(request, home, identify(target))
        if request.edited:
            for time in plan.where.times:
                renew_pyramid(target, wanted, time=time)
            done = Updated(str(target.path), came=0, gone=0, same=0, stayed=0)
        else:
            done = _segment_and_replace(request, plan, target, home, wanted, on_event)
        note_update(target, _describe(request, plan, home, wanted, done))
        warn_of_old_table(target, on_event or (lambda event: None))
        (home / ASKED).replace(home / ENDED)
        _clear(home)
    return done


def _describe(request: UpdateRequest, plan: Plan, home: Path, wanted: Box, done: Updated) -> dict[str, Any]:
    """The entry about an update in the labels' attributes."""
    entry = {"roi": [*zip(wanted.start, wanted.stop, strict=True)], "times": plan.where.times, "edited": request.edited}
    if not request.edited:
        entry |= {"foreground": plan.tracking.foreground, "closing_vox": plan.grouping.closing_vox}
        entry |= {"reach": plan.tracking.reach, "model": request.model, "filters": asdict(plan.filters)}
    entry |= {name: number for name, number in asdict(done).items() if name != "labels"}
    return entry | {"largest_id": max([0, *(int(read_table(path)["largest"]) for path in home.glob("*.npz"))])}


def _segment_and_replace(
    request: UpdateRequest, plan: Plan, target: LabelTarget, home: Path, wanted: Box, on_event: Observer | None
) -> Updated:
    """Segment the region and its surroundings, decide which cells change, then write their voxels."""
    around = _label_box(plan)
    store, decided = home / "found.zarr", {time: home / f"{time}.npz" for time in plan.where.times}
    if not all(path.exists() for path in decided.values()):
        if not _is_there(store):
            ends = tuple(zip(around.start, around.stop, strict=True))
            place = {"output": store, "name": "found", "work_dir": home.with_name(f"{home.name}-run"), "roi": ends}
            arguments = {**asdict(request), **place, "overwrite": False}
            del arguments["edited"]
            segment(**arguments, on_event=on_event)
        next_id = max(find_largest_id(target), largest_noted(target)) + 1
        for time, path in decided.items():
            made = compare_region(target, open_labels(store, "found"), wanted, around, next_id=next_id, time=time)
            next_id = max([next_id, *(int(i) + 1 for i in made.ids)])
            if next_id - 1 > largest_possible(target):
                raise TargetError(
                    f"{target.path}: {target.dtype} holds ids up to {largest_possible(target)}, and new ids go up "
                    f"to {next_id - 1}; convert the labels to a larger integer type"
                )
            write_table(path, largest=next_id - 1, **asdict(made))
    found = open_labels(store, "found")
    total = Counter[str]()
    for time, path in decided.items():
        table = read_table(path)
        made = Replacement(
            table["staying"], table["found"], table["ids"], gone=int(table["gone"]), same=int(table["same"])
        )
        replace_region(target, found, wanted, made, time=time)
        renew_pyramid(target, wanted, time=time)
        total.update(came=len(made.ids), gone=made.gone, same=made.same, stayed=len(made.staying))
    return Updated(str(target.path), **total)


def _is_there(store: Path) -> bool:
    """Whether the region was segmented to the end; labels are listed last."""
    try:
        open_labels(store, "found")
    except InputError:
        return False
    return True


def _label_box(plan: Plan) -> Box:
    """The box of the label image that covers all that is tracked for the region."""
    tracked, size = plan.scope.tracked, plan.output.target.levels[0].shape
    start = vec3(math.floor(a * f) for a, f in zip(tracked.start, plan.output.label_factors, strict=True))
    stop = vec3(math.ceil(b * f) for b, f in zip(tracked.stop, plan.output.label_factors, strict=True))
    return Box(start, stop).clip(size)


def _begin(request: UpdateRequest, home: Path, labels: str) -> None:
    """Write down the settings and the labels. Refuses an unfinished update with other settings."""
    if (home / ENDED).exists():  # from an update that was stopped while it cleaned up
        _clear(home)
    asked = {name: value for name, value in asdict(request).items() if name not in NO_PART}
    text = json.dumps({**asked, "labels": labels}, default=str, sort_keys=True)
    path = home / ASKED
    if path.exists():
        then, now = json.loads(path.read_bytes()), json.loads(text)
        if then["labels"] != labels:
            log.warning("%s: removing an unfinished update, because its labels were replaced since", home)
            path.replace(home / ENDED)
            shutil.rmtree(home.with_name(f"{home.name}-run"), ignore_errors=True)
            _clear(home)
        elif then != now:
            changed = [f"{name}: {then.get(name)} then, {now[name]} now" for name in now if then.get(name) != now[name]]
            raise TargetError(
                f"{home} holds an unfinished update with other settings ({'; '.join(changed)}); first repeat the "
                "command that began it, so that the labels become complete"
            )
    write_atomically(path, lambda file: file.write(text.encode()))


def _clear(home: Path) -> None:
    """Remove the files of an update that has ended, and last the mark that it has."""
    leftovers = [path for path in home.iterdir() if path.name != ENDED and not path.name.startswith(LOCK)]
    for leftover in [*leftovers, home / ENDED]:
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
