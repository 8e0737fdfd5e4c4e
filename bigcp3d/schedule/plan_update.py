"""Plans an update of labels: its region, its settings, and the plan of the segmentation. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.metadata import own_part
from bigcp3d.edge.image.open_node import read_attributes
from bigcp3d.edge.labels.edit_log import EditLog, updated_region
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.option import settings_of
from bigcp3d.pure.boxes import Box
from bigcp3d.schedule.complete_request import complete_request
from bigcp3d.schedule.planning.asked import with_unit
from bigcp3d.schedule.planning.make_plan import make_plan
from bigcp3d.schedule.planning.recorded_settings import UpdateSettings, find_settings
from bigcp3d.schedule.planning.region import find_region, find_times
from bigcp3d.schedule.planning.request import Request, UpdateRequest, decides_labels
from bigcp3d.schedule.running.events import Noted, Observer
from bigcp3d.schedule.running.lock import find_locks, refuse_if_held
from bigcp3d.schedule.update_files import UpdateFiles
from bigcp3d.work.plan.plan import Plan


@dataclass(frozen=True)
class UpdateWork:
    """One update: what was asked, with the settings of the labels filled in."""

    request: UpdateRequest
    target: LabelTarget
    files: UpdateFiles
    wanted: Box
    times: tuple[int, ...]
    settings: UpdateSettings
    arguments: dict[str, Any]
    """Arguments of the segmentation, without those that say where it works."""
    plan: Plan | None
    """The plan of the segmentation; None after a correction by hand."""


def plan_update(
    request: UpdateRequest, said: dict[str, Any], image: ImageInfo, target: LabelTarget, observe: Observer
) -> UpdateWork:
    """The plan, with every check. A model and a diameter that nobody knows are estimated. Writes nothing."""
    rest = {name: getattr(request, name) for name, each in settings_of(Request).items() if not decides_labels(each)}
    if request.edited:  # then the labels may be anybody's, and a correction may be at any time point
        recorded = own_part(read_attributes(target.path)).get("arguments") or {}
        settings = UpdateSettings({"scale_um": recorded.get("scale_um"), **said}, {}, [])
    else:
        settings = find_settings(image, target, said)
    for line in settings.notes:
        observe(Noted(line))
    arguments, files = {**rest, **settings.arguments}, UpdateFiles(target)
    whole = Box.of_shape(image.levels[0].shape)
    wanted = find_region(request.roi, image, settings.arguments.get("scale_um")) or whole
    times = find_times(settings.arguments.get("time"), image)
    place = {"roi": tuple(zip(wanted.start, wanted.stop, strict=True)), "work_dir": files.home}
    if request.edited:
        return UpdateWork(request, target, files, wanted, times, settings, arguments, None)
    locks = find_locks(files.home, target)
    complete, guess = complete_request(Request(**{**arguments, **place}), observe, lambda _: refuse_if_held(locks))
    if guess is not None:
        found = {name: getattr(complete, name) for name in ("model", "diameter_um", "diameter_vox")}
        settings, arguments = settings.with_more(found), {**arguments, **found}
    plan = make_plan(complete)
    return UpdateWork(request, target, files, wanted, times, settings, arguments, plan)


def settings_of_update(work: UpdateWork) -> dict[str, Any]:
    """What must be equal where an update is resumed."""
    place = {"roi": [work.wanted.start, work.wanted.stop], "times": work.times, "edited": work.request.edited}
    return {**({} if work.request.edited else work.settings.arguments), **place}


def notes_on_earlier(work: UpdateWork, log: EditLog) -> list[str]:
    """A line if an earlier update of this region had other settings, which this one does not take over."""
    for change in reversed(log.active()):
        if change.kind != "update" or change.given["edited"] or updated_region(change).intersect(work.wanted).empty:
            continue
        said, now = change.given["said"], work.settings.arguments
        differ = {name: value for name, value in said.items() if value != now.get(name)}
        words = ", ".join("{} {}".format(*with_unit(name, value)) for name, value in differ.items())
        cure = "which this update does not use; to use it, give it again"
        return [f"an earlier update of this region had {words}, {cure}"] if words else []
    return []
