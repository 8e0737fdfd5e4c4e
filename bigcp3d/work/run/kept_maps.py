"""Maps that a finished run has kept for others, and what decided them: a record in its work directory.

::

    <work_dir>/kept/0.0.0.json   written last: without it, maps in the folder may be incomplete
    <work_dir>/t0/maps           one for each time point

Maps depend on the sections `bigcp3d.work.plan.plan.MAPS` of the plan, on the kind of processor or GPU, and on the
version of torch, not on blocks or thresholds. So a run in which these are equal takes the maps, and its labels are
those that it would find from the image, bit for bit. Whether the image still holds the same voxels is checked with the
sample from which the percentiles come (`Kept.samples`). A change elsewhere goes unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bigcp3d.edge.image.given_maps import KEPT
from bigcp3d.edge.stores import platforms
from bigcp3d.edge.stores.places import is_address
from bigcp3d.edge.workdir.records import read_record, write_record
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.work.plan.name_differences import name_differences
from bigcp3d.work.plan.plan import ASKED_OF_MAPS, MAPS, Plan
from bigcp3d.work.plan.sections import Asked, Section
from bigcp3d.work.run.work_dir import ONCE, WorkDir

MISSING = "missing_chunks"
"""Setting of `Execution` that decides the maps too, where the image lacks chunks."""


class KeptPart(Section):
    """The part of the working grid that was predicted: a box, perhaps only within ``reach`` of a mask."""

    start: Vec3
    stop: Vec3
    mask: str | None
    reach: int

    @classmethod
    def of(cls, plan: Plan) -> KeptPart | None:
        """That of a run; None for the whole volume."""
        where, mapped = plan.where, plan.scope.mapped
        if where.roi is None and where.mask is None:
            return None
        mask = None if where.mask is None else f"{where.mask.path}, level {where.mask_level}, {where.mask_voxels}"
        return cls(start=vec3(mapped.start), stop=vec3(mapped.stop), mask=mask, reach=plan.tracking.reach)

    def holds(self, plan: Plan) -> bool:
        """Whether all that a plan needs is in it."""
        own, mapped, wanted = Box(self.start, self.stop), plan.scope.mapped, KeptPart.of(plan)
        if mapped.intersect(own) != mapped:
            return False
        return self.mask is None or (wanted is not None and wanted.mask == self.mask and wanted.reach <= self.reach)


class Kept(Section):
    """What lies in a folder of kept maps.

    ``settings`` are the sections `MAPS` of the plan that predicted them, and what its run did where the image has no
    chunk, if it met such places. ``asked`` is what its user asked for (None where an earlier version did not say), and
    ``device`` is "cpu" or "cuda". ``samples`` has, for each time point, the sha256 of the voxels from which the
    percentiles come. Where a run predicted only a region or near a mask, ``part`` says what; only runs that name the
    folder (--maps) start from such maps.
    """

    settings: dict[str, Any]
    asked: Asked | None = None
    times: tuple[int, ...]
    device: str
    processors: tuple[str, ...] = ()
    samples: dict[int, str]
    part: KeptPart | None = None

    def holds(self, plan: Plan) -> bool:
        """Whether all maps that a plan needs are there."""
        return self.part is None or self.part.holds(plan)

    def differences(self, plan: Plan, device: str | None, processor: Callable[[], str]) -> list[str]:
        """Why a plan would predict other maps on a kind of device (None: not known); empty where it would not.

        ``processor`` says the kind of that device. It takes seconds, so it is only asked where nothing else differs.
        """
        now = plan.sections(MAPS) | ({MISSING: plan.execution.missing_chunks} if MISSING in self.settings else {})
        found = name_differences(self.settings, now)
        said = plan.asked.differences(self.asked) if found and self.asked is not None else {}
        if asked := [line for name, line in said.items() if name in ASKED_OF_MAPS]:
            found = asked
        elif (then := self.settings["prediction"])["model_hash"] != now["prediction"]["model_hash"]:
            names = [(section["card"] or {}).get("name") for section in (then, now["prediction"])]
            found = [line for line in found if not line.startswith(("prediction.model_hash", "prediction.card"))]
            found.insert(0, f"model: the file of {names[0]} then, another file of {names[1]} now")
        if self.part is not None:
            found.append("predicted in a region or a mask only")
        missing = sorted(set(plan.where.times) - set(self.times))
        if missing:
            found.append(f"time points {', '.join(map(str, missing))} are missing")
        if device not in (None, self.device):
            found.append(f"device: {self.device} then, {device} now")
        if not found and device is not None and self.processors not in ((), (processor(),)):
            found.append(f"processor: {'; '.join(self.processors)} then, {processor()} now")
        return found


def read_kept(folder: str | Path) -> Kept | None:
    """The record of a folder with kept maps; None where there is none, an `InputError` if another version wrote it."""
    record = read_record(folder, KEPT, ONCE)
    if record is None:
        return None
    try:
        kept = Kept.model_validate(record)
        if kept.settings.keys() >= set(MAPS):
            return kept
    except ValidationError:
        pass
    raise InputError(
        f"{folder}: another version of bigcp3d kept these maps, and this version cannot read them; remove the "
        "folder, or predict again (--from image; also --overwrite, if it is the work directory of this run)"
    )


def kept_of(plan: Plan) -> Kept | None:
    """The record of the kept maps from which a run starts; None where it predicts, or was given other maps."""
    maps = plan.given.maps
    return None if maps is None or is_address(maps) else read_kept(maps)


def write_kept(plan: Plan, processors: Iterable[str], *, lost_chunks: int, missing_chunks: int) -> None:
    """Move the maps of a run to where others find them, and write the record; they are complete.

    ``processors`` are the kinds that predicted them. ``lost_chunks`` is how many chunks of the image could not be read,
    and ``missing_chunks`` how many it lacks.
    """
    work = WorkDir.of(plan)
    for time in plan.where.times:
        if (made := work.array("maps", time)).exists():  # else moved before this process was stopped
            (kept_maps := work.kept_maps(time)).parent.mkdir(exist_ok=True)
            platforms.patiently(made.replace, kept_maps)
    settings = plan.sections(MAPS)
    if lost_chunks:
        settings["chunks of the image that could not be read"] = lost_chunks
    if missing_chunks:
        settings[MISSING] = plan.execution.missing_chunks
    kept = Kept(
        settings=settings,
        asked=plan.asked,
        times=plan.where.times,
        device=(work.read_once("device") or {}).get("device", "unknown"),
        processors=tuple(processors),
        samples={time: (work.read_once("normalise", time) or {}).get("sample", "") for time in plan.where.times},
        part=KeptPart.of(plan),
    )
    write_record(work.root, KEPT, ONCE, kept.model_dump(mode="json"))


def check_sample(plan: Plan, time: int, sample: str) -> None:
    """Refuse maps that were predicted from other voxels; ``sample`` is the sha256 of the image's sample now."""
    kept = kept_of(plan) if plan.reuses_maps else None
    if kept is not None and kept.samples[time] != sample:
        raise InputError(
            f"{plan.source.image.path}: the voxels (time point {time}) have changed since the maps in "
            f"{plan.given.maps} were predicted; predict again (--from image)"
        )
