"""Opens and reads maps that another tool predicted or an earlier run kept.

::

    MAPS.zarr   zarr 2 or 3 array (4, z, y, x), or (t, 4, z, y, x); or an OME-Zarr image with axes czyx or tczyx
      channel 0      foreground, 0..1
      channels 1-3   flow z, y, x, in voxels per step, towards the cell's centre; negate flow that points away
      dtype          float16, float32, float64; or int8, each value times 127

Or the work directory of a run that kept its maps (`bigcp3d.work.run.kept_maps`): one array for each time point,
``t<time>/maps``. Chunks and shards may have any shape. Shape and dtype are checked before a run starts; NaN and logits
are found on reading.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from bigcp3d.edge.image.chunk_sizes import chunk_sides
from bigcp3d.edge.image.image import ImageInfo, open_image
from bigcp3d.edge.image.level_geometry import place_level
from bigcp3d.edge.image.metadata import first_multiscale
from bigcp3d.edge.image.open_node import find_group
from bigcp3d.edge.image.same_grid import check_same_grid
from bigcp3d.edge.stores.codecs import check_codecs, describe_missing_codec
from bigcp3d.edge.stores.passing_errors import is_passing
from bigcp3d.edge.stores.places import Place, is_address, place, zarr_store
from bigcp3d.edge.workdir.records import read_record
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.grid import Factors
from bigcp3d.pure.predict.float_maps import quantise_maps, refuse_reason

DTYPES = ("int8", "float16", "float32", "float64")

KEPT = "kept"
"""Name of the record in a work directory with kept maps."""

MIN_FOREGROUND = "min_foreground"
"""Attribute of kept maps: the default of this filter in the model's card."""


def default_min_foreground(maps: zarr.Array[Any]) -> float:
    """The default of the filter as the maps state it; 0 where they state none that can be used."""
    said = maps.attrs.get(MIN_FOREGROUND, 0.0)
    return float(said) if isinstance(said, int | float) and 0 <= said <= 1 else 0.0


def check_place_of_maps(path: str | Place, image: ImageInfo, factors: Factors) -> None:
    """Refuse maps in an OME-Zarr image whose voxels are not those of the working grid; warn of what is taken.

    ``factors`` are voxels of the image's level 0 per working voxel. Other maps do not say where they lie.
    """
    group = find_group(str(place(path)))
    if group is not None and first_multiscale(group.attrs.asdict(), str(path)) is not None:
        maps = open_image(path)
        working = place_level("working grid", maps.levels[0].shape, image.levels[0], factors)
        check_same_grid(maps, replace(image, path=f"{image.path} on the working grid", levels=(working,)))


def open_maps(path: str | Place, shape: Vec3, times: int, time: int = 0) -> zarr.Array[Any]:
    """The array that holds the maps of a time point; `InputError` where there is none of the right shape and dtype.

    ``path`` is a zarr array, an OME-Zarr image whose finest level is used, or a work directory with kept maps;
    ``shape`` is the shape of the working grid, ``times`` the image's number of time points.
    """
    kept = None if is_address(path) else read_record(str(path), KEPT, (0, 0, 0))
    if kept is not None:
        path, times = place(path) / f"t{time}" / "maps", 1
    shapes = [f"({times}, 4, {', '.join(map(str, shape))})"] + [f"{(4, *shape)}"] * (times == 1)
    needed = (
        f"a zarr array or OME-Zarr image of {', '.join(DTYPES)} and shape {' or '.join(reversed(shapes))}: foreground "
        "0..1 and flow z, y, x in voxels per step towards the centre (int8: each times 127)"
    )
    array = _open(path, needed)
    if array.dtype.newbyteorder("=").name not in DTYPES:
        raise InputError(f"{path}: these maps are {array.dtype}; convert them to {needed}")
    if array.shape != (times, 4, *shape) and (array.shape != (4, *shape) or times != 1):
        raise InputError(
            f"{path}: these maps have the shape {array.shape}; use {needed}. Maps have the shape of the resampled "
            "image; without --diameter this is the image's own. --level chooses another resolution"
        )
    return array


def _open(path: str | Place, needed: str) -> zarr.Array[Any]:
    """Open an array, or the finest level of an OME-Zarr image."""
    try:
        node = zarr.open(zarr_store(path), mode="r")
        if isinstance(node, zarr.Array):
            check_codecs(node)
    except Exception as error:
        if is_passing(error):
            raise
        if (missing := describe_missing_codec(error)) is not None:
            raise InputError(f"{path}: {missing}") from error
        raise InputError(
            f"{path}: no zarr array can be opened ({type(error).__name__}); check the path, and give {needed}"
        ) from error
    if isinstance(node, zarr.Array):
        return node
    image = open_image(path)
    if image.axes not in (("c", "z", "y", "x"), ("t", "c", "z", "y", "x")):
        raise InputError(
            f"{path}: this is an OME-Zarr image with axes {','.join(image.axes)}; write it again with axes c,z,y,x "
            f"or t,c,z,y,x, as {needed}"
        )
    return zarr.open_array(zarr_store(f"{image.path}/{image.levels[0].path}"), mode="r")


def read_maps(array: zarr.Array[Any], time: int, box: Box) -> NDArray[np.int8]:
    """All four channels of a box, int8 of shape (4, *box.shape): foreground (0 and more) and flow z, y, x, times 127.

    `InputError` where a chunk cannot be read, a value is NaN or infinite, or the foreground is not a probability.
    """
    try:
        values = np.asarray(array[(time,) * (array.ndim == 5) + (slice(None), *box.slices())])
    except Exception as error:
        if is_passing(error):
            raise
        raise InputError(
            f"{array.store_path}: maps cannot be read in box {box.start} to {box.stop} (z, y, x), time {time}: "
            f"{type(error).__name__}: {error}; copy or write them again"
        ) from error
    if values.dtype == np.int8:
        return np.ascontiguousarray(np.concatenate([np.maximum(values[:1], 0), values[1:]]))
    reason = refuse_reason(values)
    if reason is not None:
        raise InputError(f"{array.store_path}: these maps hold, in box {box.start} to {box.stop} (z, y, x), {reason}")
    return quantise_maps(values)


def maps_chunk(array: zarr.Array[Any]) -> Vec3:
    """Sides (z, y, x) of the smallest box that can be read by itself, in voxels."""
    return vec3(chunk_sides(array)[-3:])
