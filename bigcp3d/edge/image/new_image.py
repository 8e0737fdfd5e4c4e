"""Makes a new OME-Zarr image and fills it shard by shard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo, Level, open_image
from bigcp3d.edge.image.level_geometry import place_level
from bigcp3d.edge.image.transforms import describe_levels
from bigcp3d.edge.image.voxels import check_channel, check_level, check_time
from bigcp3d.edge.stores.places import Place, place
from bigcp3d.edge.stores.zarr_write import edit_group, make_array, write_whole, writing
from bigcp3d.errors import TargetError
from bigcp3d.pure.boxes import Box, Float3, Vec3, float3
from bigcp3d.pure.mean_pool import pooled_shape, total_factors


def create_image(
    path: str | Place,
    shape: Vec3,
    dtype: str,
    *,
    scale_um: Float3 | None,
    times: int = 1,
    channels: int = 1,
    factors: Sequence[Vec3] = (),
    version: str = "0.5",
    chunk: Vec3,
    shard: Vec3,
    name: str = "image",
) -> ImageInfo:
    """Make an image, all zero; `TargetError` where the path exists or cannot be written.

    ``shape``, ``chunk`` and ``shard`` (a multiple of chunk; 0.4 has none) are voxels (z, y, x), ``dtype`` is numpy's
    name, ``scale_um`` micrometres per voxel; without it, 1 is written without a unit. Several time points make an axis
    t, several channels an axis c. ``factors`` are, for each coarser level, voxels of the level below per voxel.
    """
    where = place(path)
    if where.exists():
        raise TargetError(f"{where}: this path exists already; give another path, or delete it")
    zarr_format = 2 if version == "0.4" else 3
    lead = {name: count for name, count in (("t", times), ("c", channels)) if count > 1}
    axes = (*lead, "z", "y", "x")
    unit = "micrometer" if scale_um else None
    first = Level("0", shape, float3(scale_um or (1, 1, 1)), (0.0, 0.0, 0.0))
    levels = [first]
    for i, (total, factor) in enumerate(zip(total_factors(factors)[1:], factors, strict=True), start=1):
        levels.append(place_level(str(i), pooled_shape(levels[-1].shape, factor), first, float3(total)))
    placed = [(level.path, level.scale_um or (1.0, 1.0, 1.0), level.translation_um) for level in levels]
    more = {"type": "mean"} if factors else {}
    metadata = {"multiscales": [describe_levels(version, axes, (unit,) * 3, placed, name=name, **more)]}
    with writing(where):
        if isinstance(where, Path):
            where.parent.mkdir(parents=True, exist_ok=True)
        edit_group(where, zarr_format, metadata if zarr_format == 2 else {"ome": {"version": version, **metadata}})
        for level in levels:
            full = (*lead.values(), *level.shape)
            make_array(where / level.path, full, dtype, axes=axes, chunk=chunk, shard=shard, zarr_format=zarr_format)
    return open_image(where)


def write_image_box(
    image: ImageInfo,
    box: Box,
    array: NDArray[Any],
    *,
    level: int = 0,
    time: int = 0,
    channel: int = 0,
    sync: bool = False,
) -> None:
    """Write whole shards (0.4: chunks) of a level; may be repeated; `ValueError` for other boxes or dtypes.

    With ``sync``, what was written would survive a power cut.
    """
    path = place(image.path) / image.levels[check_level(image, level)].path
    at = {"time": check_time(image, time), "channel": check_channel(image, channel)}
    write_whole(path, image.zarr_format, image.axes, box, np.asarray(array), sync=sync, keep_empty=True, **at)
