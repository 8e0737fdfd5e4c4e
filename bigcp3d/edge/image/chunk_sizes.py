"""Sizes of the stored pieces of an array, also of rectilinear chunks, whose sizes differ along an axis.

zarr 3.4 reads these behind a switch, which is set here.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import zarr

from bigcp3d.edge.stores.places import Place

zarr.config.set({"array.rectilinear_chunks": True})


def is_regular(array: zarr.Array[Any]) -> bool:
    """Whether all chunks have the same size, but for those that the border cuts."""
    return _sizes(array) is None


def _sizes(array: zarr.Array[Any]) -> Any:
    """For each axis the sizes of rectilinear chunks; None for regular ones."""
    try:
        array.chunks  # noqa: B018
    except NotImplementedError:
        return getattr(array, "read_chunk_sizes")  # noqa: B009, older zarr has none
    return None


def chunk_sides(array: zarr.Array[Any]) -> tuple[int, ...]:
    """Sides of the smallest piece that is read by itself; of rectilinear chunks the largest."""
    sizes = _sizes(array)
    return array.chunks if sizes is None else tuple(max(each) for each in sizes)


def piece_counts(array: zarr.Array[Any]) -> tuple[int, ...]:
    """Number of stored pieces along each axis: shards, or chunks where there are none."""
    sizes = _sizes(array)
    if sizes is not None:
        return tuple(len(each) for each in sizes)
    sides = array.shards or array.chunks
    return tuple(-(-length // side) for length, side in zip(array.shape, sides, strict=True))


def unread_chunks(folder: Place) -> str | None:
    """Why this zarr cannot open an array with rectilinear chunks; None for other arrays, and where it reads them."""
    if hasattr(zarr.Array, "read_chunk_sizes"):
        return None
    with suppress(OSError, ValueError, LookupError, TypeError):
        if json.loads((folder / "zarr.json").read_bytes())["chunk_grid"]["name"] == "rectilinear":
            return (
                f"its chunks differ in size (rectilinear), which zarr {zarr.__version__} cannot read; use a newer zarr"
            )
    return None
