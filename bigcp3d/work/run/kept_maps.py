"""What a finished run has kept for others, and what decided it: a record in its work directory.

::

    <work_dir>/kept/0.0.0.json   written last; a folder without it holds nothing that may be relied upon
    <work_dir>/t0/maps           one for each time point
    <work_dir>/t0/tracked/       offsets and sinks, if they were to be kept as well

Maps depend on the image, the working grid, the network and the patches (`Plan.maps_settings`), on the kind of device,
and on nothing that comes later: no block, no threshold. So a run whose settings are equal in these takes them, and its
labels are those that it would have found from the image, bit for bit. That the image still holds the same voxels is
seen by the sample that its percentiles come from (`Kept.samples`); a change outside of that sample is not seen.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bigcp3d.edge.image.given_maps import KEPT
from bigcp3d.edge.stores.places import same_place
from bigcp3d.edge.stores.zarr_write import plain_json
from bigcp3d.edge.workdir.records import read_record, read_records, write_record
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.work.plan.plan import Plan, name_differences
from bigcp3d.work.run.run import ONCE, Run
from bigcp3d.work.run.unreadable_input import read_lost

COUNTED = ("foreground_vox", "unassigned_vox", "nonfinite_vox", "missing_chunks")
"""What ``track`` counts for the summary."""


class KeptOffsets(BaseModel):
    """Kept offsets and sinks: `Plan.offsets_settings`, time points, blocks, and what ``track`` counted in all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: dict[str, Any]
    times: tuple[int, ...]
    block: Vec3
    counts: dict[str, int]

    def differences(self, plan: Plan) -> list[str]:
        """Why these are not what a plan would find; empty where they are."""
        found = name_differences(self.settings, plain_json(plan.offsets_settings()))
        if tuple(plan.times) != tuple(self.times):
            found.append(f"times: {list(self.times)} then, {list(plan.times)} now")
        if plan.roi is not None or plan.mask is not None:
            found.append("a region or a mask is asked for")
        if plan.missing == "fail" and self.counts.get("missing_chunks"):
            found.append(
                f"{self.counts['missing_chunks']} chunks were not in the store then, and all are asked for now"
            )
        return found


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
        if plan.roi is None and plan.mask is None:
            return None
        mapped, mask = plan.scope.mapped, None if plan.mask is None else f"{plan.mask.path}, level {plan.mask_level}"
        return cls(start=vec3(mapped.start), stop=vec3(mapped.stop), mask=mask, reach=plan.reach)

    def holds(self, plan: Plan) -> bool:
        """Whether all that a plan needs is in it."""
        own, mapped, wanted = Box(self.start, self.stop), plan.scope.mapped, KeptPart.of(plan)
        if mapped.intersect(own) != mapped:
            return False
        return self.mask is None or (wanted is not None and wanted.mask == self.mask and wanted.reach <= self.reach)


class Kept(BaseModel):
    """What lies in a folder of kept maps.

    Attributes
    ----------
    settings : dict
        `Plan.maps_settings` of the run that predicted them.
    times : tuple of int
        Time points that are there.
    device : str
        Kind of device that predicted: "cpu" or "cuda".
    samples : dict of int to str
        By time point, sha256 of the voxels that the percentiles were taken from.
    partial : bool
        Whether a region or a mask decided which of the maps there are; nobody else starts from these.
    part : KeptPart or None
        Then, what was predicted; None where an earlier version did not say.
    maps : str or None
        The folder in which the maps are; None: in this one.
    offsets : KeptOffsets or None
        What was kept of tracking.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: dict[str, Any]
    times: tuple[int, ...]
    device: str
    samples: dict[int, str]
    partial: bool = False
    part: KeptPart | None = None
    maps: str | None = None
    offsets: KeptOffsets | None = None

    def holds(self, plan: Plan) -> bool:
        """Whether all maps that a plan needs are there."""
        return not self.partial or (self.part is not None and self.part.holds(plan))

    def same_maps(self, other: Kept | None) -> bool:
        """Whether another folder's maps are these: of the same settings, voxels and kind of device."""
        own = {"maps": None, "offsets": None}
        return other is not None and self.model_copy(update=own) == other.model_copy(update=own)

    def differences(self, plan: Plan, device: str | None) -> list[str]:
        """Why these are not the maps that a plan would predict; empty where they are.

        Parameters
        ----------
        plan : Plan
        device : str or None
            Kind of device that would predict; None where that is not known.
        """
        now = plain_json(plan.maps_settings())
        found = name_differences(self.settings, now)
        if self.settings.get("model_hash") != now["model_hash"]:  # its name says more than all that its card says
            names = [(settings.get("card") or {}).get("name") for settings in (self.settings, now)]
            found = [line for line in found if not line.startswith(("model_hash", "card"))]
            found.insert(0, f"model: the file of {names[0]} then, another file of {names[1]} now")
        if self.partial:
            found.append("predicted in a region or a mask only")
        missing = sorted(set(plan.times) - set(self.times))
        if missing:
            found.append(f"time points {', '.join(map(str, missing))} are missing")
        if device not in (None, self.device):
            found.append(f"device: {self.device} then, {device} now")
        return found


def read_kept(folder: str | Path) -> Kept | None:
    """What a folder says that it has kept; None where it says nothing, or nothing that this version understands."""
    record = read_record(folder, KEPT, ONCE)
    try:
        return None if record is None else Kept.model_validate(record)
    except ValidationError:
        return None


def write_kept(run: Run) -> None:
    """Say what a run has kept; all of it is there."""
    plan, lost = run.plan, len(read_lost(run))
    before = read_kept(plan.maps) if plan.maps is not None and plan.reuses_maps else None
    if before is None:
        device = read_record(run.root / "records", "device", ONCE)
        records = {time: read_record(run.records(time), "normalise", ONCE) or {} for time in plan.times}
        kept = Kept(
            settings=plan.maps_settings() | ({"chunks of the image that could not be read": lost} if lost else {}),
            times=plan.times,
            device=(device or {}).get("device", "unknown"),
            partial=plan.roi is not None or plan.mask is not None,
            part=KeptPart.of(plan),
            samples={time: record.get("sample", "") for time, record in records.items()},
        )
    else:
        here = plan.maps is None or same_place(plan.maps, run.root)
        kept = before.model_copy(update={"maps": None if here else str(plan.maps)})
    if plan.keeps_offsets and not lost:
        counts = Counter[str]()
        for time in plan.times:
            for _, count, _ in read_records(run.records(time), "track"):
                counts.update({name: count[name] for name in COUNTED})
        offsets = KeptOffsets(
            settings=plain_json(plan.offsets_settings()), times=plan.times, block=plan.block, counts=dict(counts)
        )
        kept = kept.model_copy(update={"offsets": offsets})
    write_record(run.root, KEPT, ONCE, kept.model_dump(mode="json"))


def forget_offsets(folder: str | Path) -> None:
    """Say that what was kept of tracking is no longer there; before it goes."""
    kept = read_kept(folder)
    if kept is not None and kept.offsets is not None:
        write_record(folder, KEPT, ONCE, kept.model_copy(update={"offsets": None}).model_dump(mode="json"))


def check_sample(plan: Plan, time: int, sample: str) -> None:
    """Refuse maps that were predicted from other voxels; ``sample`` is the sha256 of those that are there now.

    Raises
    ------
    InputError
    """
    kept = read_kept(plan.maps) if plan.maps is not None and plan.reuses_maps else None
    if kept is not None and kept.samples[time] != sample:
        raise InputError(
            f"{plan.image.path}: found other voxels (time point {time}) than those that the maps in {plan.maps} were "
            "predicted from; allowed is the same image: predict anew (--from image)"
        )
