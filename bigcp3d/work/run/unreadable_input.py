"""Pieces of the input that cannot be read: an error of the block that needs them, or background where the user says so.

With ``--on-error skip`` a stored chunk that cannot be read, three times in a row, is lost:

- the network and the statistics see the channel's low percentile in its voxels, and the sample that gives the
  percentiles leaves them out; of given maps, foreground and flow are 0 there;
- its voxels are labelled 0, whichever channel was lost, and so is each working voxel that one of them would take its
  label from.

Invariant: what is lost is whole stored chunks, never a block, so the labels are the same for all blocks, workers and
orders, as long as the same chunks cannot be read. The first task that gives a chunk up writes a record, and from then
on no task reads it. A chunk that can be read now and then may have been seen by a task before; which patches saw it
then depends on the order, and the record says that it was given up.
"""

from __future__ import annotations

import logging
import time as clock
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.given_maps import maps_chunk
from bigcp3d.edge.image.image import read_box
from bigcp3d.edge.image.voxels import missing_chunks, stored_chunk
from bigcp3d.edge.workdir.records import claim_record, list_records, read_records
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.grid import working_box
from bigcp3d.work.run.run import Run

log = logging.getLogger(__name__)

TRIES = 3
PAUSE_S = 0.05


@dataclass(frozen=True)
class LostPiece:
    """A stored chunk that was given up.

    Attributes
    ----------
    what : "image" or "maps"
    channel : int
        Of the image; 0 for maps.
    time : int
    start, stop : tuple of int
        Voxels (z, y, x) of the level that is read, or of the working grid for maps.
    error : str
        What the first task that gave it up saw.
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
    """Voxels of a channel of the image; and the chunks in it that are lost, whose voxels are 0.

    Raises
    ------
    InputError
        Where something cannot be read and errors are not skipped.
    """
    plan = run.plan
    empty = partial(np.zeros, dtype=plan.image.dtype)
    chunk = partial(stored_chunk, plan.image, plan.level)
    read = partial(_read_image, run, time, channel)
    return _read(run, _label("image", channel, time), box, read, chunk, plan.image_shape, empty)


def read_maps(run: Run, time: int, box: Box) -> NDArray[np.int8]:
    """All channels of the maps, 0 where given maps are lost.

    Raises
    ------
    InputError, FileNotFoundError
        Where something cannot be read and errors are not skipped.
    """
    if run.plan.maps is None:
        return run.read("maps", time, box)
    read = partial(run.read, "maps", time)
    chunk = partial(maps_chunk, run.array("maps", time))
    return _read(
        run, _label("maps", 0, time), box, read, chunk, run.plan.shape, lambda shape: np.zeros((4, *shape), np.int8)
    )[0]


def lost_voxels(run: Run, time: int, within: Box) -> list[Box]:
    """Working voxels that are lost with chunks of the image, of any channel, inside a box whose maps are there.

    All that such a box needs of the image was read for its maps, or just now; so whatever is lost there is recorded.
    """
    if run.plan.on_error == "fail":
        return []
    pieces = (Box(piece.start, piece.stop) for piece in read_lost(run) if (piece.what, piece.time) == ("image", time))
    boxes = (working_box(piece, run.plan.factors, run.plan.shape).intersect(within) for piece in pieces)
    return [box for box in boxes if not box.empty]


def read_lost(run: Run) -> list[LostPiece]:
    """All that was given up in a run."""
    records = run.root / "records"
    return [
        LostPiece(what, channel, time, vec3(data["start"]), vec3(data["stop"]), data["error"])
        for what, channel in [*(("image", channel) for channel in run.plan.channels), ("maps", 0)]
        for time in run.plan.times
        for _, data, _ in read_records(records, _label(what, channel, time))
    ]


def _label(what: str, channel: int, time: int) -> str:
    return f"lost-{what}-c{channel}-t{time}"


def _read_image(run: Run, time: int, channel: int, box: Box) -> NDArray[Any]:
    """A box of the image; refuses chunks that are not in the store where the user says that all are."""
    plan = run.plan
    if plan.missing == "fail":
        missing = missing_chunks(plan.image, plan.level, box, channel=channel, time=time)
        if missing:
            raise InputError(
                f"{plan.image.path}: found no chunk in the store for voxels {missing[0].start} to {missing[0].stop} "
                f"(z, y, x), channel {channel}, time {time}, and {len(missing) - 1} more of this block; all are "
                "asked for (--missing-chunks fail)"
            )
    return read_box(plan.image, plan.level, box, channel=channel, time=time)


def _read(
    run: Run,
    label: str,
    box: Box,
    read: Callable[[Box], NDArray[Any]],
    chunk: Callable[[], Vec3],
    shape: Vec3,
    empty: Callable[[Vec3], NDArray[Any]],
) -> tuple[NDArray[Any], list[Box]]:
    """What ``read`` gives, or what can be read of it, chunk by chunk."""
    if run.plan.on_error == "fail":
        return _read_patiently(read, box), []
    known = set(list_records(run.root / "records", label))
    if not known:
        try:
            return read(box), []
        except InputError:
            pass
    grid, values, lost = BlockGrid(shape, chunk()), empty(box.shape), []
    for index in grid.touching(box):
        piece = grid.core(index).intersect(box)
        part = None if index in known else _try_to_read(run, label, grid, index, piece, read)
        if part is None:
            lost.append(grid.core(index))
        else:
            values[(..., *piece.slices(box.start))] = part
    return values, lost


def _try_to_read(
    run: Run, label: str, grid: BlockGrid, index: Vec3, piece: Box, read: Callable[[Box], NDArray[Any]]
) -> NDArray[Any] | None:
    """A piece of one chunk; None where it was given up, now or by another task."""
    try:
        return _read_patiently(read, piece)
    except InputError as error:
        core, cause = grid.core(index), error.__cause__ or error
        said = {"start": core.start, "stop": core.stop, "error": f"{type(cause).__name__}: {cause}"}
        claim_record(run.root / "records", label, index, said)
        log.warning("%s: chunk %s is given up: %s", label, index, error)
        return None


def _read_patiently(read: Callable[[Box], NDArray[Any]], box: Box) -> NDArray[Any]:
    """Read, and again after a pause where a store errs now and then."""
    for _ in range(TRIES - 1):
        try:
            return read(box)
        except InputError as error:
            log.info("read again: %s", error)
            clock.sleep(PAUSE_S)
    return read(box)
