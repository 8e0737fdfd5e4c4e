"""The arrays of an image's levels, opened and checked before a voxel is read.

No validator notices levels of mixed dtypes or missing arrays, and a run would find out hours later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import zarr

from bigcp3d.edge.image.metadata import stays_inside
from bigcp3d.edge.stores.clients import describe_error, shown_cause
from bigcp3d.edge.stores.places import zarr_store
from bigcp3d.errors import InputError

Levels = dict[str, zarr.Array[Any]]


def open_levels(group: zarr.Group, multiscale: Mapping[str, Any], where: str) -> Levels:
    """The arrays that the datasets name, in order, by path."""
    datasets = multiscale.get("datasets")
    if (
        not isinstance(datasets, list)
        or not all(isinstance(d, Mapping) and "path" in d for d in datasets)
        or not datasets
    ):
        raise InputError(
            f"{where}: found datasets {datasets!r}; allowed is a list of objects with a path; write it again"
        )
    arrays: Levels = {}
    for dataset in datasets:
        path = str(dataset["path"])
        if not stays_inside(path):
            raise InputError(
                f"{where}: found level path {path!r}, which leaves the store; allowed are paths below its group; "
                "correct the metadata"
            )
        try:
            array = zarr.open_array(zarr_store(f"{where}/{path}"), mode="r", zarr_format=group.metadata.zarr_format)
        except Exception as error:
            said, paths = describe_error(error), ", ".join(str(d["path"]) for d in datasets)
            raise InputError(
                f"{where}: found no readable array at level path {path!r} ({said}); allowed is one array for each of "
                f"{paths}; write the image again, or take the level out of its metadata"
            ) from shown_cause(error)
        arrays[path] = array
    return arrays


def check_arrays(arrays: Levels, axes: Sequence[str], where: str) -> None:
    """Refuse dtypes that are no numbers, levels that do not go together, and axes without voxels."""
    (first_path, first), *others = arrays.items()
    if first.dtype.kind not in "iuf":
        raise InputError(
            f"{where}/{first_path}: found dtype {first.dtype}; allowed are integers and floating point numbers; "
            "convert the image"
        )
    for path, array in others:
        if array.dtype.newbyteorder("=") != first.dtype.newbyteorder("=") or array.ndim != first.ndim:
            raise InputError(
                f"{where}/{path}: found {array.ndim} dimensions of {array.dtype}, where level {first_path!r} has "
                f"{first.ndim} of {first.dtype}; allowed are levels that agree; write the pyramid again"
            )
    for path, array in arrays.items():
        for name, length, finest in zip(axes, array.shape, first.shape, strict=True):
            if length == 0:
                raise InputError(
                    f"{where}/{path}: found 0 voxels on axis {name} (shape {array.shape}); allowed is 1 or more; "
                    "write the image again"
                )
            if name in "tc" and length != finest:
                raise InputError(
                    f"{where}/{path}: found {length} on axis {name}, where level {first_path!r} has {finest}; "
                    "allowed are levels that agree; write the pyramid again"
                )
