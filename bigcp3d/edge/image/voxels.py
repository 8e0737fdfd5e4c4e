"""Reads boxes of voxels from an image; checks that a level, time point or channel is there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.sync import sync

from bigcp3d.edge.image.image_info import ImageInfo
from bigcp3d.edge.stores.connections import describe_error, shown_cause
from bigcp3d.edge.stores.places import is_address, place, zarr_store
from bigcp3d.edge.stores.remote import Remote
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3


def check_level(image: ImageInfo, level: int) -> int:
    """A pyramid level that the image has; `InputError` otherwise."""
    return _in_range(image, "level", level, len(image.levels))


def check_time(image: ImageInfo, time: int) -> int:
    """A time point that the image has; `InputError` otherwise."""
    return _in_range(image, "time point", time, image.times)


def check_channel(image: ImageInfo, channel: int | str) -> int:
    """Index of a channel given by index or by name; `InputError` where the image has none such."""
    if isinstance(channel, str) and channel in image.channel_names:
        return image.channel_names.index(channel)
    if isinstance(channel, str) and not channel.isdecimal():
        raise InputError(
            f"{image.path}: there is no channel {channel!r}; use one of 0 to {image.channels - 1}, or a name: "
            f"{', '.join(image.channel_names) or 'none is named'}"
        )
    return _in_range(image, "channel", int(channel), image.channels)


def _in_range(image: ImageInfo, what: str, number: int, count: int) -> int:
    if not 0 <= number < count:
        raise InputError(
            f"{image.path}: there is no {what} {number} (axes {','.join(image.axes)}); use one of 0 to {count - 1}"
        )
    return number


def read_box(image: ImageInfo, level: int, box: Box, *, channel: int = 0, time: int = 0) -> NDArray[Any]:
    """The voxels of a box, (z, y, x), in native byte order; chunks that the store lacks are the fill value.

    `InputError` where a stored chunk is damaged or unreadable; `ValueError` where the box does not lie in the level.
    """
    check_level(image, level), check_time(image, time), check_channel(image, channel)
    shape, where = image.levels[level].shape, f"{image.path}/{image.levels[level].path}"
    if box.empty or box.clip(shape) != box:
        raise ValueError(f"{where}: box {box} does not lie in shape {shape}")
    lead = _leading_index(image, channel, time)
    try:
        array = open_level(image, level, remember=True)
        index: tuple[int | slice, ...] = (*lead, *box.slices())
        _refuse_empty_shards(array, where, lead, box)
        voxels = np.asarray(array[index])
        _refuse_empty_objects(array, where, lead, box, voxels)
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(
            f"{where}: voxels cannot be read in box {box.start} to {box.stop} (z, y, x), channel {channel}, time "
            f"{time}: {type(error).__name__}: {describe_error(error)}; copy or write the image again"
        ) from shown_cause(error)
    return voxels.astype(image.dtype, copy=False)


def open_level(image: ImageInfo, level: int, *, remember: bool = False) -> zarr.Array[Any]:
    """The array of a level; with ``remember``, a task asks an object store for nothing twice."""
    store = zarr_store(f"{image.path}/{image.levels[level].path}", remember=remember)
    return zarr.open_array(store, mode="r", zarr_format=image.zarr_format)  # type: ignore[arg-type]


def _leading_index(image: ImageInfo, channel: int, time: int) -> tuple[int, ...]:
    """Indices on the axes before z."""
    return tuple({"t": time, "c": channel}[name] for name in image.axes if name in "tc")


def _refuse_empty_shards(array: zarr.Array[Any], where: str, lead: tuple[int, ...], box: Box) -> None:
    """Raise for stored shards of no bytes, which zarr takes for missing ones."""
    if is_address(where):
        return
    for piece, _ in _shards(array, lead, box):
        path = os.path.join(where, array.metadata.encode_chunk_key(piece))
        if os.path.exists(path) and os.path.getsize(path) == 0:
            raise ValueError(f"the shard {path} is empty")


def _refuse_empty_objects(
    array: zarr.Array[Any], where: str, lead: tuple[int, ...], box: Box, voxels: NDArray[Any]
) -> None:
    """The same in an object store, which is asked only about shards where nothing but fill was read."""
    if not is_address(where):
        return
    for piece, part in _shards(array, lead, box):
        if np.any(voxels[part.slices(box.start)] != array.fill_value):
            continue
        spot = place(where) / array.metadata.encode_chunk_key(piece)
        if isinstance(spot, Remote) and spot.size() == 0:
            raise ValueError(f"the shard {spot} is empty")


def _shards(array: zarr.Array[Any], lead: tuple[int, ...], box: Box) -> Iterator[tuple[tuple[int, ...], Box]]:
    """Index of each shard that a box meets, and what of the box lies in it."""
    if array.shards is None:
        return
    sides = array.shards[-3:]
    own = tuple(i // s for i, s in zip(lead, array.shards[:-3], strict=True))
    for index in BlockGrid(vec3(array.shape[-3:]), vec3(sides)).touching(box):
        start = vec3(i * s for i, s in zip(index, sides, strict=True))
        shard = Box(start, vec3(a + s for a, s in zip(start, sides, strict=True)))
        yield (*own, *index), shard.intersect(box)


def stored_chunk(image: ImageInfo, level: int) -> Vec3:
    """Voxels (z, y, x) of the smallest piece that is read at once."""
    return vec3(open_level(image, level).chunks[-3:])


def missing_chunks(image: ImageInfo, level: int, box: Box, *, channel: int = 0, time: int = 0) -> list[Box]:
    """Boxes (z, y, x) of the stored objects (shards, or else chunks) that a box needs and the store lacks."""
    array = open_level(image, level)
    side = array.shards or array.chunks
    first = tuple(i // s for i, s in zip(_leading_index(image, channel, time), side, strict=False))
    grid = BlockGrid(image.levels[level].shape, vec3(side[-3:]))
    indices = grid.touching(box)
    keys = [array.metadata.encode_chunk_key((*first, *index)) for index in indices]
    there = sync(_exist(array, keys))
    return [grid.core(index) for index, found in zip(indices, there, strict=True) if not found]


async def _exist(array: zarr.Array[Any], keys: list[str]) -> list[bool]:
    """Whether objects of an array are in its store; asked all at once."""
    return list(await asyncio.gather(*((array.store_path / key).exists() for key in keys)))
