"""Voxels of an image, box by box; and whether a level, time point or channel is there."""

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
from bigcp3d.edge.stores.clients import describe_error, shown_cause
from bigcp3d.edge.stores.places import is_address, place, zarr_store
from bigcp3d.edge.stores.remote import Remote
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3


def check_level(image: ImageInfo, level: int) -> int:
    """A pyramid level that the image has.

    Raises
    ------
    InputError
        Where it is out of range.
    """
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
            f"{image.path}: found channel {channel!r}; allowed are 0 to {image.channels - 1}, "
            f"by name: {', '.join(image.channel_names) or 'none is named'}; give one of these"
        )
    return _in_range(image, "channel", int(channel), image.channels)


def _in_range(image: ImageInfo, what: str, number: int, count: int) -> int:
    if not 0 <= number < count:
        raise InputError(
            f"{image.path}: found {what} {number}; allowed are 0 to {count - 1} "
            f"(axes {','.join(image.axes)}); give one of these"
        )
    return number


def read_box(image: ImageInfo, level: int, box: Box, *, channel: int = 0, time: int = 0) -> NDArray[Any]:
    """The voxels of a box.

    Parameters
    ----------
    image : ImageInfo
        From `open_image` or `open_labels`.
    level : int
        Pyramid level, 0 the finest.
    box : Box
        Inside the level's shape, not empty.
    channel, time : int
        Indices on c and t.

    Returns
    -------
    voxels : ndarray of ``image.dtype``, shape ``box.shape``
        In native byte order. Chunks that the store lacks are the fill value.

    Raises
    ------
    InputError
        Where a stored chunk is damaged or unreadable.
    ValueError
        Where the box does not lie in the level.
    """
    check_level(image, level), check_time(image, time), check_channel(image, channel)
    stored = image.levels[level]
    if box.empty or box.clip(stored.shape) != box:
        raise ValueError(f"{image.path}/{stored.path}: box {box} does not lie in shape {stored.shape}")
    lead = tuple({"t": time, "c": channel}[name] for name in image.axes if name in "tc")
    where = f"{image.path}/{stored.path}"
    try:
        store = zarr_store(where, remember=True)
        array = zarr.open_array(store, mode="r", zarr_format=image.zarr_format)  # type: ignore[arg-type]
        index: tuple[int | slice, ...] = (*lead, *box.slices())
        _refuse_empty_shards(array, where, lead, box)
        voxels = np.asarray(array[index])
        _refuse_empty_objects(array, where, lead, box, voxels)
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(
            f"{where}: found voxels that cannot be read in box {box.start} to {box.stop} (z, y, x), channel {channel}, "
            f"time {time}: {type(error).__name__}: {describe_error(error)}; allowed are whole chunks; copy or write the "
            "image again"
        ) from shown_cause(error)
    return voxels.astype(image.dtype, copy=False)


def _refuse_empty_shards(array: zarr.Array[Any], where: str, lead: tuple[int, ...], box: Box) -> None:
    """Raise for stored shards without a byte, which zarr takes for shards that are not there."""
    if is_address(where):
        return
    for piece, _ in _shards(array, lead, box):
        path = os.path.join(where, array.metadata.encode_chunk_key(piece))
        if os.path.exists(path) and os.path.getsize(path) == 0:
            raise ValueError(f"the shard {path} is empty")


def _refuse_empty_objects(
    array: zarr.Array[Any], where: str, lead: tuple[int, ...], box: Box, voxels: NDArray[Any]
) -> None:
    """The same for an object store, which is asked only about shards of which nothing but fill was read."""
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
    stored = image.levels[level]
    array = zarr.open_array(zarr_store(f"{image.path}/{stored.path}"), mode="r", zarr_format=image.zarr_format)  # type: ignore[arg-type]
    return vec3(array.chunks[-3:])


def missing_chunks(image: ImageInfo, level: int, box: Box, *, channel: int = 0, time: int = 0) -> list[Box]:
    """Boxes (z, y, x) of the stored objects that a box needs and the store lacks, which zarr reads as the fill value.

    Where an array has shards, these are the stored objects.
    """
    stored = image.levels[level]
    array = zarr.open_array(zarr_store(f"{image.path}/{stored.path}"), mode="r", zarr_format=image.zarr_format)  # type: ignore[arg-type]
    lead = tuple({"t": time, "c": channel}[name] for name in image.axes if name in "tc")
    side = array.shards or array.chunks
    first = tuple(i // s for i, s in zip(lead, side, strict=False))
    grid = BlockGrid(stored.shape, vec3(side[-3:]))
    indices = grid.touching(box)
    keys = [array.metadata.encode_chunk_key((*first, *index)) for index in indices]
    there = sync(_exist(array, keys))
    return [grid.core(index) for index, found in zip(indices, there, strict=True) if not found]


async def _exist(array: zarr.Array[Any], keys: list[str]) -> list[bool]:
    """Whether objects of an array are in its store; asked all at once."""
    return list(await asyncio.gather(*((array.store_path / key).exists() for key in keys)))
