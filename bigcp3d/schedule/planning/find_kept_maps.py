"""Finds maps that a finished run kept and that this run would predict itself.

The default place of runs on this image and the folder of this run's work directory are searched. All settings that
decide maps must be equal (`bigcp3d.work.run.kept_maps`), so no label depends on what is found. The kind of processor
and the version of torch are among them, but they are known only of workers on this machine. Of others, the labels name
the kinds that predicted the maps.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from bigcp3d.edge.image.given_maps import KEPT
from bigcp3d.errors import InputError
from bigcp3d.schedule.clusters.this_machine import device_here, processor_here
from bigcp3d.schedule.planning.request import Request
from bigcp3d.work.plan.plan import Plan, read_plan
from bigcp3d.work.plan.sections import Given
from bigcp3d.work.run.kept_maps import read_kept
from bigcp3d.work.run.work_dir import WorkDir, home_of_runs

log = logging.getLogger(__name__)


def reuse_kept(plan: Plan, request: Request) -> Plan:
    """The plan, which starts from kept maps if there are any that it would predict itself.

    ``request.start`` says whether it may ("auto") or must ("maps") do so. An unfinished run continues as it began.
    """
    if request.start == "image" or not plan.predicts:
        return plan
    unfinished = _read_unfinished(WorkDir.of(plan))
    if request.start == "auto" and unfinished is not None and unfinished.key == plan.key:
        return plan
    device = device_here() if request.scheduler is None and request.cluster == "local" else None
    fitting, others = [], []
    begun_from = None if unfinished is None else unfinished.given.maps
    for folder in kept_folders(plan):
        if differing := _why_not(plan, folder, None if str(folder) == begun_from else device):
            others.append(f"{folder}: {'; '.join(differing)}")
        else:
            storage = plan.storage.model_copy(update={"keep_maps": False})
            fitting.append(plan.model_copy(update={"given": Given(maps=str(folder)), "storage": storage}))
    for other in others:
        log.info("kept maps are not used: %s (to use them anyway, give --maps DIR)", other)
    if request.start == "maps" and not fitting:
        found_text = "\n  ".join(others) or f"no kept maps near {plan.storage.work_dir}"
        raise InputError(
            "--from maps was given, but no kept maps fit the settings of this run. Found:\n"
            f"  {found_text}\nGive the settings with which they were predicted, or --maps DIR to use them anyway, or "
            "leave --from out (to keep maps, give --keep-maps)"
        )
    begun = [other for other in fitting if unfinished is not None and other.key == unfinished.key]
    taken = [*begun, *fitting, plan][0]
    if request.keep_maps and taken.given.maps not in (None, plan.storage.work_dir):
        log.warning(
            "%s: no maps are kept here, because those kept in %s are used (to predict and keep them here, give "
            "--from image)",
            *(plan.storage.work_dir, taken.given.maps),
        )
    return taken


def _why_not(plan: Plan, folder: Path, device: str | None) -> list[str]:
    """Why the maps of a folder are not those that the plan would predict; empty if they are."""
    try:
        kept = read_kept(folder)
    except InputError as error:
        return [str(error).removeprefix(f"{folder}: ")]
    return (
        ["its record is damaged, so its settings are unknown"]
        if kept is None
        else kept.differences(plan, device, processor_here)
    )


def kept_folders(plan: Plan) -> Iterator[Path]:
    """Folders with kept maps: first this run's own, then others by name."""
    own = Path(plan.storage.work_dir)
    homes = {own.parent, home_of_runs(plan.source.image.path)}
    seen = [child for home in sorted(homes) if home.is_dir() for child in sorted(home.iterdir())]
    for folder in dict.fromkeys([own, *seen]):
        if (folder / KEPT).is_dir():
            yield folder


def _read_unfinished(work: WorkDir) -> Plan | None:
    """The plan of an unfinished run in a work directory, if it can be read."""
    try:
        return None if work.finished.exists() else read_plan(work.root)
    except InputError:
        return None
