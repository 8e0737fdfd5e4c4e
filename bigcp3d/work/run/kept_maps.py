"""What a finished run has kept for others, and what decided it: a record in its work directory.

::

    <work_dir>/kept/0.0.0.json   written last; a folder without it holds nothing that may be relied upon
    <work_dir>/t0/maps           one for each time point

Maps depend on the image, the working grid, the network and the patches (the plan's sections
`bigcp3d.work.plan.plan.MAPS`) and on the kind of device, not on blocks or thresholds. So a run in which these are equal
takes the maps, and its labels are those that it would find from the image, bit for bit. Whether the image still holds
the same voxels is checked with the sample that its percentiles come from (`Kept.samples`); a change elsewhere goes
unseen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bigcp3d.edge.image.given_maps import KEPT
from bigcp3d.edge.workdir.records import read_record, write_record
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.work.plan.plan import MAPS, Plan, name_differences
from bigcp3d.work.run.unreadable_input import read_lost
from bigcp3d.work.run.work_dir import ONCE, WorkDir


class KeptPart(BaseModel):
    """What of the working grid was predicted: a box, perhaps only within ``reach`` of a mask."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: Vec3
    stop: Vec3
    mask: str | None
    reach: int

    @classmethod
    def of(cls, plan: Plan) -> KeptPart | None:
        """That of a run; None for the whole volume."""
        if plan.where.roi is None and plan.where.mask is None:
            return None
        mapped, mask = (
            plan.scope.mapped,
            None if plan.where.mask is None else f"{plan.where.mask.path}, level {plan.where.mask_level}",
        )
        return cls(start=vec3(mapped.start), stop=vec3(mapped.stop), mask=mask, reach=plan.tracking.reach)

    def holds(self, plan: Plan) -> bool:
        """Whether all that a plan needs is in it."""
        own, mapped, wanted = Box(self.start, self.stop), plan.scope.mapped, KeptPart.of(plan)
        if mapped.intersect(own) != mapped:
            return False
        return self.mask is None or (wanted is not None and wanted.mask == self.mask and wanted.reach <= self.reach)


class Kept(BaseModel):
    """What lies in a folder of kept maps.

    ``settings`` are the sections `MAPS` of the plan that predicted them, on a kind of ``device`` ("cpu" or "cuda").
    ``samples`` has, for each time point, the sha256 of the voxels that the percentiles were taken from. Where a region
    or a mask decided which maps there are, they are ``partial``: ``part`` says what was predicted, and only runs that
    name the folder (--maps) start from them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: dict[str, Any]
    times: tuple[int, ...]
    device: str
    samples: dict[int, str]
    partial: bool = False
    part: KeptPart | None = None

    def holds(self, plan: Plan) -> bool:
        """Whether all maps that a plan needs are there."""
        return not self.partial or (self.part is not None and self.part.holds(plan))

    def differences(self, plan: Plan, device: str | None) -> list[str]:
        """Why these are not the maps that a plan would predict on a kind of device (None: not known); else empty."""
        now = plan.sections(MAPS)
        found = name_differences(self.settings, now)
        then = self.settings["prediction"]
        if then["model_hash"] != now["prediction"]["model_hash"]:  # its name says more than all that its card says
            names = [(section["card"] or {}).get("name") for section in (then, now["prediction"])]
            found = [line for line in found if not line.startswith(("prediction.model_hash", "prediction.card"))]
            found.insert(0, f"model: the file of {names[0]} then, another file of {names[1]} now")
        if self.partial:
            found.append("predicted in a region or a mask only")
        missing = sorted(set(plan.where.times) - set(self.times))
        if missing:
            found.append(f"time points {', '.join(map(str, missing))} are missing")
        if device not in (None, self.device):
            found.append(f"device: {self.device} then, {device} now")
        return found


def read_kept(folder: str | Path) -> Kept | None:
    """What a folder says that it has kept; None where it says nothing.

    Raises
    ------
    InputError
        Where another version of bigcp3d kept it.
    """
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
        f"{folder}: another version of bigcp3d kept these maps, which this one does not understand; remove the folder, "
        "or predict anew (--from image; --overwrite where it is the work directory)"
    )


def write_kept(plan: Plan) -> None:
    """Say what a run has kept; all of it is there."""
    work = WorkDir.of(plan)
    lost = len(read_lost(work, plan))
    samples = {time: (work.read_once("normalise", time) or {}).get("sample", "") for time in plan.where.times}
    kept = Kept(
        settings=plan.sections(MAPS) | ({"chunks of the image that could not be read": lost} if lost else {}),
        times=plan.where.times,
        device=(work.read_once("device") or {}).get("device", "unknown"),
        partial=plan.where.roi is not None or plan.where.mask is not None,
        part=KeptPart.of(plan),
        samples=samples,
    )
    write_record(work.root, KEPT, ONCE, kept.model_dump(mode="json"))


def check_sample(plan: Plan, time: int, sample: str) -> None:
    """Refuse maps that were predicted from other voxels; ``sample`` is the sha256 of those that are there now."""
    kept = read_kept(plan.given.maps) if plan.given.maps is not None and plan.reuses_maps else None
    if kept is not None and kept.samples[time] != sample:
        raise InputError(
            f"{plan.source.image.path}: found other voxels (time point {time}) than those that the maps in "
            f"{plan.given.maps} were predicted from; allowed is the same image: predict anew (--from image)"
        )
