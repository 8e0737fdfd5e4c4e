"""The files of an update, and of what is kept to take it back.

::

    <store>.bigcp3d/<name>.update/asked.json     the settings; other settings are refused until this update has ended
                                  decided        nothing is changed yet; other settings may begin anew
                                  before/        the region as it was; from its before.json on, voxels change
                                  ended.json     the update has ended, and the folder must be emptied
                                  found.zarr     the region, segmented again
                                  <time>.npz     which cells stay, come and go
                                  lock.json
    <store>.bigcp3d/<name>.update-run            work directory of the run that segments the region
    <store>.bigcp3d/<name>.undo                  ``before`` of the last update that has ended
                                  before.zarr    the labels of the region, all levels and time points
                                  before.json    what they are; without it, the folder holds nothing
                                  after.json     hash of the region after the update
                                  undoing        the region is being brought back

Each step ends with one file that appears, is renamed or goes. So a crash leaves the state before a step or after it.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.labels.labels import create_labels
from bigcp3d.edge.labels.labels_to_update import identify
from bigcp3d.edge.stores.atomic_files import write_json
from bigcp3d.edge.workdir.lock_file import LOCK
from bigcp3d.errors import TargetError
from bigcp3d.pure.boxes import Box, vec3
from bigcp3d.schedule.planning.find_kept_maps import default_work_dir
from bigcp3d.work.update_labels import changed_boxes, copy_boxes, hash_boxes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptRegion:
    """A region of labels as it was before an update, in a folder of its own.

    ``id`` is that of the update in the labels' attributes; ``labels`` identifies the labels (`identify`).
    """

    folder: Path
    id: str
    labels: str
    boxes: tuple[Box, ...]
    times: tuple[int, ...]
    edited: bool

    @classmethod
    def read(cls, folder: Path) -> KeptRegion | None:
        """The region that a folder keeps; None if it keeps none, or not all of one."""
        try:
            said = json.loads((folder / "before.json").read_bytes())
        except FileNotFoundError:
            return None
        said["boxes"] = tuple(Box(vec3(start), vec3(stop)) for start, stop in said["boxes"])
        return cls(folder, **{**said, "times": tuple(said["times"])})

    @classmethod
    def save(cls, folder: Path, target: LabelTarget, wanted: Box, times: tuple[int, ...], edited: bool) -> KeptRegion:
        """Copy a region of labels into a folder. Only then the folder says that it keeps one."""
        kept = cls(folder, uuid4().hex, identify(target), changed_boxes(target, wanted), times, edited)
        create_labels(kept.copy_of(target), overwrite=True)
        for time in times:
            copy_boxes(target, kept.copy_of(target), kept.boxes, time=time)
        said = {"id": kept.id, "labels": kept.labels, "times": times, "edited": edited}
        write_json(folder / "before.json", {**said, "boxes": [(box.start, box.stop) for box in kept.boxes]})
        return kept

    def copy_of(self, target: LabelTarget) -> LabelTarget:
        """The kept voxels, as labels that are not listed."""
        return replace(target, group=str(self.folder / "before.zarr"), name="before")

    def note_after(self, target: LabelTarget) -> None:
        """Write down what the region is like after the update."""
        write_json(self.folder / "after.json", {"sha256": hash_boxes(target, self.boxes, self.times)})

    def is_as_after(self, target: LabelTarget) -> bool:
        """Whether the region is still as the update left it."""
        said = json.loads((self.folder / "after.json").read_bytes())
        return bool(said["sha256"] == hash_boxes(target, self.boxes, self.times))

    def bring_back(self, target: LabelTarget) -> None:
        """Write the kept voxels into the labels; may be repeated."""
        for time in self.times:
            copy_boxes(self.copy_of(target), target, self.boxes, time=time)

    @property
    def undoing(self) -> Path:
        """The file that is there while the region is brought back."""
        return self.folder / "undoing"

    def drop(self) -> None:
        """Remove the folder. What makes it one that keeps a region goes first."""
        (self.folder / "before.json").unlink()
        shutil.rmtree(self.folder)


class UpdateFiles:
    """Paths of an update of some labels, and the steps from one state to the next."""

    def __init__(self, target: LabelTarget) -> None:
        self.home = default_work_dir(target.group, f"{target.name}.update")
        self.run = self.home.with_name(f"{target.name}.update-run")
        self.undo = self.home.with_name(f"{target.name}.undo")
        self.found, self.before = self.home / "found.zarr", self.home / "before"
        self.asked, self.ended, self.decided = (self.home / name for name in ("asked.json", "ended.json", "decided"))

    def decision(self, time: int) -> Path:
        """The table that says which cells change."""
        return self.home / f"{time}.npz"

    def begin(self, asked: dict[str, Any], labels: str) -> None:
        """Write down the settings and the labels. Refuses an unfinished update or undo that this one would disturb."""
        self.finish_ended()
        undone = KeptRegion.read(self.undo)
        if undone is not None and undone.undoing.exists() and undone.labels == labels:
            raise TargetError(f"{self.undo}: an undo was stopped; first repeat it: bigcp3d update ... --undo")
        now = json.loads(json.dumps({**asked, "labels": labels}, default=str))
        if self.asked.exists():
            then = json.loads(self.asked.read_bytes())
            started = self.before.joinpath("before.json").exists()
            if then["labels"] != labels:
                log.warning("%s: removing an unfinished update, because its labels were replaced since", self.home)
                self.give_up()
            elif then != now and self.decided.exists() and not started:
                self.give_up()  # a dry run, or an update that was not wanted
            elif then != now:
                changed = [
                    f"{name}: {then.get(name)} then, {now[name]} now" for name in now if then.get(name) != now[name]
                ]
                raise TargetError(
                    f"{self.home} holds an unfinished update with other settings ({'; '.join(changed)}); repeat the "
                    "command that began it, so that the labels become complete, or give it up: --undo"
                )
        write_json(self.asked, now)

    def finish_ended(self) -> None:
        """Finish the cleaning of an update that has ended, and was stopped while it cleaned up."""
        if self.ended.exists():
            self._clear()

    def end(self) -> None:
        """The update has ended: keep the region as it was, and remove all else."""
        self.asked.replace(self.ended)
        self._clear()

    def give_up(self) -> None:
        """Remove all of an update; the labels are as before it, or were replaced since."""
        if (kept := KeptRegion.read(self.before)) is not None:
            kept.drop()
        shutil.rmtree(self.run, ignore_errors=True)
        self.end()

    def _clear(self) -> None:
        """Remove the files of an update that has ended, and last the mark that it has."""
        if KeptRegion.read(self.before) is not None:
            if (older := KeptRegion.read(self.undo)) is not None:
                older.drop()
            shutil.rmtree(self.undo, ignore_errors=True)  # a folder that keeps nothing
            self.before.replace(self.undo)
        leftovers = [path for path in self.home.iterdir() if path != self.ended and not path.name.startswith(LOCK)]
        for leftover in [*leftovers, self.ended]:
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
