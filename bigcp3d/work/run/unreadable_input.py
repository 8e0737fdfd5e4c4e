"""Reads the image and given maps where chunks may be unreadable: an error, or background with ``--on-error skip``.

With "skip" a stored chunk that cannot be read three times in a row is lost:

- The network sees the channel's low percentile in its voxels, and the sample that gives the percentiles leaves them
  out. Of given maps, foreground and flow are 0 there.
- Its voxels are labelled 0, whichever channel was lost, and so are working voxels from which one of them would take its
  label.

Invariant: whole stored chunks are lost, never blocks, so labels do not depend on blocks, workers or order, as long as
the same chunks cannot be read. The first task that gives a chunk up writes a record, and from then on no task reads it.
A chunk that can be read now and then may have been seen before by some tasks, which depends on their order.
"""

from __future__ import annotations

import logging
import time as clock
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.given_maps import maps_chunk
from bigcp3d.edge.image.voxels import missing_chunks, read_box, stored_chunk
from bigcp3d.edge.workdir.records import claim_record, list_records, read_records
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.grid import working_box
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.run.run import Run
from bigcp3d.work.run.work_dir import WorkDir

log = logging.getLogger(__name__)

TRIES = 3
PAUSE_S = 0.05


@dataclass(frozen=True)
class LostPiece:
    """A stored chunk of the "image" or of "maps" (channel 0) that was given up, and the error of who did so first.

    Voxels are (z, y, x) of the level that is read, or of the working grid for maps.
    """

    what: str
    channel: int
    time: int
    start: Vec3
    stop: Vec3
    error: str

    def __str__(self) -> str:
        return (
            f"{self.what}, channel {self.channel}, time {self.time}, voxels {self.start} to {self.stop}: {self.error}"
        )


def read_image(run: Run, time: int, channel: int, box: Box) -> tuple[NDArray[Any], list[Box]]:
    """Voxels of a channel of the image; and the chunks in it that are lost, whose voxels are 0."""
    return _Image(run, time, channel).read(box)


def read_maps(run: Run, time: int, box: Box) -> NDArray[np.int8]:
    """All channels of the maps, 0 where given maps are lost."""
    return run.read("maps", time, box) if run.plan.predicts else _GivenMaps(run, time, 0).read(box)[0]


def lost_voxels(run: Run, time: int, within: Box) -> list[Box]:
    """Working voxels that are lost with chunks of the image, of any channel, inside a box whose maps are there.

    All that such a box needs of the image was read for its maps, or just now; so whatever is lost there is recorded.
    """
    plan = run.plan
    if plan.storage.on_error == "fail":
        return []
    lost = read_lost(run.dir, plan)
    pieces = (Box(piece.start, piece.stop) for piece in lost if (piece.what, piece.time) == ("image", time))
    boxes = (working_box(piece, plan.sampling.factors, plan.shape).intersect(within) for piece in pieces)
    return [box for box in boxes if not box.empty]


def read_lost(work: WorkDir, plan: Plan) -> list[LostPiece]:
    """All that was given up in a run."""
    return [
        LostPiece(what, channel, time, vec3(data["start"]), vec3(data["stop"]), data["error"])
        for what, channel in [*(("image", channel) for channel in plan.source.channels), ("maps", 0)]
        for time in plan.where.times
        for _, data, _ in read_records(work.records(), _label(what, channel, time))
    ]


def _label(what: str, channel: int, time: int) -> str:
    return f"lost-{what}-c{channel}-t{time}"


class _Input(ABC):
    """A channel of the image, or given maps, at a time point: read whole, or chunk by chunk where chunks are lost."""

    what: str
    stacked: tuple[int, ...] = ()
    """Channels that are read together."""

    def __init__(self, run: Run, time: int, channel: int) -> None:
        self.run, self.plan, self.time, self.channel = run, run.plan, time, channel
        self.label = _label(self.what, channel, time)
        self.dtype = run.plan.source.image.dtype if self.what == "image" else "int8"

    @abstractmethod
    def read_box(self, box: Box) -> NDArray[Any]:
        """Voxels of a box; an `InputError` where they cannot be read."""

    @abstractmethod
    def chunks(self) -> BlockGrid:
        """The stored chunks."""

    def read(self, box: Box) -> tuple[NDArray[Any], list[Box]]:
        """What can be read of a box, and the chunks that are lost."""
        if self.plan.storage.on_error == "fail":
            return self._read_patiently(box), []
        known = set(list_records(self.run.dir.records(), self.label))
        if not known:
            with suppress(InputError):
                return self.read_box(box), []
        grid, lost = self.chunks(), []
        values = np.zeros((*self.stacked, *box.shape), self.dtype)
        for index in grid.touching(box):
            piece = grid.core(index).intersect(box)
            try:
                part = None if index in known else self._read_patiently(piece)
            except InputError as error:
                self._give_up(index, grid.core(index), error)
                part = None
            if part is None:
                lost.append(grid.core(index))
            else:
                values[(..., *piece.slices(box.start))] = part
        return values, lost

    def _read_patiently(self, box: Box) -> NDArray[Any]:
        """Read, and again after a pause where a store errs now and then."""
        for _ in range(TRIES - 1):
            try:
                return self.read_box(box)
            except InputError as error:
                log.info("read again: %s", error)
                clock.sleep(PAUSE_S)
        return self.read_box(box)

    def _give_up(self, index: Vec3, core: Box, error: InputError) -> None:
        """Record that a chunk is lost; from now on no task reads it."""
        cause = error.__cause__ or error
        said = {"start": core.start, "stop": core.stop, "error": f"{type(cause).__name__}: {cause}"}
        claim_record(self.run.dir.records(), self.label, index, said)
        log.warning("%s: chunk %s is given up: %s", self.label, index, error)


class _Image(_Input):
    what = "image"

    def read_box(self, box: Box) -> NDArray[Any]:
        """Refuses chunks that are not in the store, where the user says that all are."""
        image, level = self.plan.source.image, self.plan.source.level
        where = {"channel": self.channel, "time": self.time}
        if self.plan.execution.missing_chunks == "fail" and (missing := missing_chunks(image, level, box, **where)):
            raise InputError(
                f"{image.path}: found no chunk in the store for voxels {missing[0].start} to {missing[0].stop} "
                f"(z, y, x), channel {self.channel}, time {self.time}, and {len(missing) - 1} more of this block; all "
                "are asked for (--missing-chunks fail)"
            )
        return read_box(image, level, box, **where)

    def chunks(self) -> BlockGrid:
        return BlockGrid(self.plan.image_shape, stored_chunk(self.plan.source.image, self.plan.source.level))


class _GivenMaps(_Input):
    what = "maps"
    stacked = (4,)

    def read_box(self, box: Box) -> NDArray[Any]:
        return self.run.read("maps", self.time, box)

    def chunks(self) -> BlockGrid:
        return BlockGrid(self.plan.shape, maps_chunk(self.run.array("maps", self.time)))
