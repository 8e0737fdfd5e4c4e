"""Reads boxes of voxels from an image; checks that a level, time point or channel exists."""

from __future__ import annotations

import asyncio
import operator
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.sync import sync

from bigcp3d.edge.image.chunk_sizes import chunk_sides, is_regular
from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.stores.axis_order import piece_index, to_zyx
from bigcp3d.edge.stores.connections import describe_error, shown_cause
from bigcp3d.edge.stores.passing_errors import is_passing
from bigcp3d.edge.stores.places import is_address, place, zarr_store
from bigcp3d.edge.stores.remote import Remote
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3
from bigcp3d.pure.plural import describe_indices


def check_level(image: ImageInfo, level: int) -> int:
    """Return the level if the image has it; `InputError` otherwise."""
    return _in_range(image, "level", level, len(image.levels))


def check_time(image: ImageInfo, time: int) -> int:
    """Return the time point if the image has it; `InputError` otherwise."""
    return _in_range(image, "time point", time, image.times)


def check_channel(image: ImageInfo, channel: int | str) -> int:
    """Index of a channel that is given by index or name; `InputError` where the image does not have it.

    Text is a name or a number, since a channel may be called "488", and ``"#1"`` is a number for sure. Text that may
    mean two channels is refused.
    """
    if isinstance(channel, str) and channel.startswith("#") and channel[1:].isdecimal():
        channel = int(channel[1:])
    if not isinstance(channel, str):
        return _in_range(image, "channel", channel, image.channels)
    named = [index for index, name in enumerate(image.channel_names) if name == channel]
    meant = {*named, int(channel)} if channel.isdecimal() and int(channel) < image.channels else {*named}
    if len(meant) == 1:
        return meant.pop()
    names = ", ".join(f"{index} {name}" for index, name in enumerate(image.channel_names)) or "none is named"
    if not meant:
        raise InputError(
            f"{image.path}: there is no channel {channel!r}; use {describe_indices(image.channels)}, or a name: {names}"
        )
    numbers = " or ".join(map(str, sorted(meant)))
    raise InputError(
        f"{image.path}: {channel!r} may mean channel {numbers} ({names}); give '#' and the number, as in "
        f"--channel '#{min(meant)}'"
    )


def _in_range(image: ImageInfo, what: str, number: int, count: int) -> int:
    if not 0 <= number < count:
        raise InputError(
            f"{image.path}: there is no {what} {number} (axes {','.join(image.axes)}); use {describe_indices(count)}"
        )
    return number


def read_box(image: ImageInfo, level: int, box: Box, *, channel: int = 0, time: int = 0) -> NDArray[Any]:
    """The voxels of a box, (z, y, x), in native byte order; missing chunks give the fill value.

    `InputError` where a stored chunk is damaged or cannot be read; `ValueError` where the box is not inside the level.
    """
    check_level(image, level), check_time(image, time), check_channel(image, channel)
    shape, where = image.levels[level].shape, f"{image.path}/{image.levels[level].path}"
    if box.empty or box.clip(shape) != box:
        raise ValueError(f"{where}: box {box} is not inside shape {shape}")
    try:
        array = open_level(image, level, remember=True)
        index: Any = image.index(channel, time, box.slices())
        voxels = np.ascontiguousarray(to_zyx(image.axes, np.asarray(array[index])))
        _refuse_lost_chunks(image, level, array, box, voxels, channel, time)
    except Exception as error:
        if is_passing(error):
            raise
        raise InputError(
            f"{where}: voxels cannot be read in box {box.start} to {box.stop} (z, y, x), channel {channel}, time "
            f"{time}: {type(error).__name__}: {describe_error(error, where)}; copy or write the image again"
        ) from shown_cause(error)
    return voxels.astype(image.dtype, copy=False)


def open_level(image: ImageInfo, level: int, *, remember: bool = False) -> zarr.Array[Any]:
    """The array of a level; with ``remember``, a task fetches nothing twice from an object store."""
    store = zarr_store(f"{image.path}/{image.levels[level].path}", remember=remember)
    return zarr.open_array(store, mode="r", zarr_format=image.zarr_format)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _StoredPieces:
    """The objects of an array that hold a channel at a time point: shards, or chunks where there are none."""

    image: ImageInfo
    array: zarr.Array[Any]
    channel: int
    time: int

    @property
    def grid(self) -> BlockGrid:
        """Their boxes."""
        return BlockGrid(self.image.spatial(self.array.shape), self.image.spatial(self._sides))

    @property
    def _sides(self) -> tuple[int, ...]:
        return self.array.shards or self.array.chunks

    def key(self, index: Vec3) -> str:
        """The name of one of them in the array's folder."""
        piece = piece_index(self.image.axes, self._sides, self.channel, self.time, index)
        return self.array.metadata.encode_chunk_key(piece)


def _refuse_lost_chunks(
    image: ImageInfo, level: int, array: zarr.Array[Any], box: Box, voxels: NDArray[Any], channel: int, time: int
) -> None:
    """Raise for stored shards of 0 bytes and for links to nowhere, which zarr reads as if they were missing.

    Only chunks and shards of which nothing but the fill value was read are looked at.
    """
    if (array.shards is None and is_address(image.path)) or not is_regular(array):
        return
    pieces = _StoredPieces(image, array, channel, time)
    grid = pieces.grid
    for index in grid.touching(box):
        part = grid.core(index).intersect(box).slices(box.start)
        if not _holds_only(array.fill_value, voxels[part]):
            continue
        spot = place(image.path) / image.levels[level].path / pieces.key(index)
        if isinstance(spot, Path) and spot.is_symlink() and not spot.exists():
            raise ValueError(f"the chunk {spot} is a link to {os.readlink(spot)}, which is not there")
        size = spot.size() if isinstance(spot, Remote) else spot.stat().st_size if spot.exists() else None
        if array.shards is not None and size == 0:
            raise ValueError(f"the shard {spot} is empty")


def _holds_only(fill: Any, voxels: NDArray[Any]) -> bool:
    """Whether all voxels are the fill value (zarr 2 may have none; then 0). The first voxel nearly always tells."""
    fill = 0 if fill is None else fill
    if fill != fill:  # NaN
        return bool(np.isnan(voxels.flat[0]) and np.isnan(voxels).all())
    return bool(voxels.flat[0] == fill and np.all(voxels == fill))


def stored_chunk(image: ImageInfo, level: int) -> Vec3:
    """Sides (z, y, x) of the smallest box that can be read by itself, in voxels."""
    return image.spatial(chunk_sides(open_level(image, level)))


def missing_chunks(
    image: ImageInfo, level: int, box: Box, *, channel: int = 0, time: int = 0, that_begin: bool = False
) -> list[Box]:
    """Boxes (z, y, x) of the shards (or chunks) that a box needs and the store does not have.

    With ``that_begin``, only those whose first voxel lies in the box.
    """
    array = open_level(image, level)
    if not is_regular(array):  # their boxes are no grid; `bigcp3d info --check` counts them
        return []
    pieces = _StoredPieces(image, array, channel, time)
    grid, indices = pieces.grid, pieces.grid.touching(box)
    if that_begin:
        indices = [index for index in indices if all(map(operator.le, box.start, grid.core(index).start))]
    found = sync(_exist(array, [pieces.key(index) for index in indices]))
    return [grid.core(index) for index, exists in zip(indices, found, strict=True) if not exists]


async def _exist(array: zarr.Array[Any], keys: list[str]) -> list[bool]:
    """Whether each object of an array exists in its store; all requests run at once."""
    return list(await asyncio.gather(*((array.store_path / key).exists() for key in keys)))
