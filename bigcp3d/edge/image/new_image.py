"""Makes a new OME-Zarr image and fills it shard by shard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo, open_image
from bigcp3d.edge.image.transforms import Float3, describe_levels, float3
from bigcp3d.edge.image.voxels import check_channel
from bigcp3d.edge.stores.places import Place, place
from bigcp3d.edge.stores.zarr_write import edit_group, make_array, write_whole, writing
from bigcp3d.errors import TargetError
from bigcp3d.pure.boxes import Box, Vec3


def create_image(
    path: str | Place,
    shape: Vec3,
    dtype: str,
    *,
    scale_um: Float3 | None,
    channels: int = 1,
    version: str = "0.5",
    chunk: Vec3,
    shard: Vec3,
    name: str = "image",
) -> ImageInfo:
    """Make an image of one level, all zero; `TargetError` where the path exists or cannot be written.

    ``shape``, ``chunk`` and ``shard`` (a multiple of chunk; 0.4 has none) are voxels (z, y, x), ``dtype`` is numpy's
    name, ``scale_um`` micrometres per voxel; without it, 1 is written without a unit. Several channels make an axis c.
    """
    where = place(path)
    if where.exists():
        raise TargetError(f"{where}: this path exists already; give another path, or delete it")
    zarr_format = {"0.4": 2, "0.5": 3}[version]
    axes = ("c", "z", "y", "x") if channels > 1 else ("z", "y", "x")
    unit = "micrometer" if scale_um else None
    placed = [("0", float3(scale_um or (1, 1, 1)), (0.0, 0.0, 0.0))]
    metadata = {"multiscales": [describe_levels(version, axes, (unit,) * 3, placed, name=name)]}
    full = (channels, *shape) if channels > 1 else shape
    with writing(where):
        if isinstance(where, Path):
            where.parent.mkdir(parents=True, exist_ok=True)
        edit_group(where, zarr_format, metadata if zarr_format == 2 else {"ome": {"version": version, **metadata}})
        make_array(where / "0", full, dtype, axes=axes, chunk=chunk, shard=shard, zarr_format=zarr_format)
    return open_image(where)


def write_image_box(image: ImageInfo, box: Box, array: NDArray[Any], *, channel: int = 0) -> None:
    """Write whole shards (0.4: chunks) of the finest level; may be repeated; `ValueError` for other boxes or dtypes."""
    path = place(image.path) / image.levels[0].path
    lead = (check_channel(image, channel),) if "c" in image.axes else ()
    write_whole(path, image.zarr_format, lead, box, np.asarray(array))
