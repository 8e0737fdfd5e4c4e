"""Reads the image and given maps where chunks may be unreadable: an error, or background with ``--on-error skip``.

With "skip" a stored chunk that cannot be read three times in a row is lost:

- In the image, the network sees the channel's low percentile in its voxels, and the sample for the percentiles leaves
  them out. In given maps, foreground and flow are 0 there.
- Working voxels in it are background, whichever channel was lost. Only at its border can a voxel take the label of a
  neighbour, if the image is resampled.

Invariant: whole stored chunks are lost, never blocks. So labels do not depend on blocks, workers or order, as long as
the same chunks cannot be read. The first task that gives a chunk up writes a record, and from then on no task reads it.
A chunk that can be read only sometimes may have been read before by some tasks; that depends on their order.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import time as clock
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.given_maps import maps_chunk
from bigcp3d.edge.image.voxels import missing_chunks, read_box, stored_chunk
from bigcp3d.edge.workdir.records import claim_record, read_record, read_records
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.grid import image_box, working_box
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.run.run import Run
from bigcp3d.work.run.work_dir import WorkDir

log = logging.getLogger(__name__)

TRIES, PAUSE_S = 3, 0.05

MOST_LOST = 1000
"""Lost chunks that are listed, at most: those that come first."""


@dataclass(frozen=True, order=True)
class LostPiece:
    """A stored chunk of the "image" or of "maps" (channel 0) that was given up, and the first error.

    Voxels are (z, y, x) of the level that is read, or of the working grid for maps.
    """

    what: str
    channel: int
    time: int
    start: Vec3
    stop: Vec3
    error: str

    def __str__(self) -> str:
        where = f"channel {self.channel}, time {self.time}, voxels {self.start} to {self.stop}"
        return f"{self.what}, {where}: {self.error}"


def read_image(run: Run, time: int, channel: int, box: Box) -> tuple[NDArray[Any], list[Box]]:
    """Voxels of a channel of the image, and the chunks in it that are lost; their voxels are 0."""
    return _Input(
        run,
        _label("image", channel, time),
        dtype=run.plan.source.image.dtype,
        values=(),
        read_once=lambda part: _read_image_box(run.plan, time, channel, part),
        chunks=lambda: _image_chunks(run.plan),
    ).read(box)


def read_maps_or_background(run: Run, time: int, box: Box) -> NDArray[np.int8]:
    """All channels of the maps, 0 where given maps are lost."""
    if run.plan.predicts:
        return run.read("maps", time, box)
    return _Input(
        run,
        _label("maps", 0, time),
        dtype="int8",
        values=(4,),
        read_once=lambda part: run.read("maps", time, part),
        chunks=lambda: BlockGrid(run.plan.shape, maps_chunk(run.array("maps", time))),
    ).read(box)[0]


def _image_chunks(plan: Plan) -> BlockGrid:
    return BlockGrid(plan.image_shape, stored_chunk(plan.source.image, plan.source.level))


def _read_image_box(plan: Plan, time: int, channel: int, box: Box) -> NDArray[Any]:
    """Missing chunks are an error if the user says so."""
    image, level = plan.source.image, plan.source.level
    where: dict[str, Any] = {"channel": channel, "time": time}
    if plan.execution.missing_chunks == "fail" and (missing := missing_chunks(image, level, box, **where)):
        raise InputError(
            f"{image.path}: the store has no chunk for voxels {missing[0].start} to {missing[0].stop} "
            f"(z, y, x), channel {channel}, time {time}, and {len(missing) - 1} more of this block; add "
            "them, or leave out --missing-chunks fail"
        )
    return read_box(image, level, box, **where)


def lost_voxels(run: Run, time: int, within: Box) -> list[Box]:
    """Working voxels that are lost with chunks of the image, of any channel, inside a box that has maps.

    All voxels of the image that the box needs were read for its maps, or just now, so all losses are recorded.
    """
    plan, factors, lost = run.plan, run.plan.sampling.factors, list[Box]()
    read = image_box(within, factors, plan.image_shape)
    for channel in plan.source.channels:
        known = _known_lost(run, _label("image", channel, time), lambda: _image_chunks(plan), read)
        boxes = (working_box(chunk, factors, plan.shape).intersect(within) for chunk in known.values())
        lost += [box for box in boxes if not box.empty]
    return lost


def read_lost(work: WorkDir, plan: Plan) -> tuple[int, list[LostPiece]]:
    """How many chunks a run has given up, and the first `MOST_LOST` of them."""
    number = itertools.count()
    pieces = (
        LostPiece(what, channel, time, vec3(data["start"]), vec3(data["stop"]), data["error"])
        for what, channel in [*(("image", channel) for channel in plan.source.channels), ("maps", 0)]
        for time in plan.where.times
        for _, data, _ in read_records(work.records(), _label(what, channel, time))
    )
    first = heapq.nsmallest(MOST_LOST, (piece for piece, _ in zip(pieces, number, strict=False)))
    return next(number), first


def _known_lost(run: Run, label: str, chunks: Callable[[], BlockGrid], box: Box) -> dict[Vec3, Box]:
    """The chunks in a box that were given up before. Only these are looked for, however many others were lost."""
    records = run.dir.records()
    if run.plan.storage.on_error == "fail" or not (records / label).exists():
        return {}
    grid = chunks()
    return {index: grid.core(index) for index in grid.visit(box) if read_record(records, label, index) is not None}


def _label(what: str, channel: int, time: int) -> str:
    return f"lost-{what}-c{channel}-t{time}"


@dataclass(frozen=True)
class _Input:
    """A channel of the image, or given maps, at a time point: read whole, or chunk by chunk where chunks are lost."""

    run: Run
    label: str
    dtype: str
    values: tuple[int, ...]
    """Shape of a voxel's values."""
    read_once: Callable[[Box], NDArray[Any]]
    """Gives the voxels of a box; an `InputError` where they cannot be read."""
    chunks: Callable[[], BlockGrid]

    def read(self, box: Box) -> tuple[NDArray[Any], list[Box]]:
        """The voxels of a box, and the chunks that are lost."""
        if self.run.plan.storage.on_error == "fail":
            return self._read_patiently(box), []
        known = _known_lost(self.run, self.label, self.chunks, box)
        if not known:
            with suppress(InputError, OSError):
                return self.read_once(box), []
        grid, lost = self.chunks(), []
        found = np.zeros((*self.values, *box.shape), self.dtype)
        for index in grid.touching(box):
            piece = grid.core(index).intersect(box)
            try:
                if index not in known:
                    found[(..., *piece.slices(box.start))] = self._read_patiently(piece)
                    continue
            except InputError as error:
                self._give_up(index, grid.core(index), error)
            lost.append(grid.core(index))
        return found, lost

    def _read_patiently(self, box: Box) -> NDArray[Any]:
        """Try several times, for stores with passing errors."""
        for _ in range(TRIES - 1):
            try:
                return self.read_once(box)
            except (InputError, OSError) as error:
                log.info("read again: %s", error)
                clock.sleep(PAUSE_S)
        return self.read_once(box)

    def _give_up(self, index: Vec3, core: Box, error: InputError) -> None:
        cause = error.__cause__ or error
        said = {"start": core.start, "stop": core.stop, "error": f"{type(cause).__name__}: {cause}"}
        claim_record(self.run.dir.records(), self.label, index, said)
        log.warning("%s: chunk %s cannot be read and becomes background: %s", self.label, index, error)
