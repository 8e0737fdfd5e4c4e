"""Opens the arrays of an image's levels, and checks their dtypes and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import zarr

from bigcp3d.edge.image.metadata import stays_inside
from bigcp3d.edge.stores.connections import describe_error, shown_cause
from bigcp3d.edge.stores.places import zarr_store
from bigcp3d.errors import InputError

Levels = dict[str, zarr.Array[Any]]


def open_levels(group: zarr.Group, multiscale: Mapping[str, Any], where: str) -> Levels:
    """The arrays that the datasets name, by path, in order."""
    datasets = multiscale.get("datasets")
    usable = isinstance(datasets, list) and all(isinstance(d, Mapping) and "path" in d for d in datasets)
    if not datasets or not usable:
        raise InputError(
            f"{where}: its datasets are {datasets!r}, not a list of objects with a path; write the image again"
        )
    arrays: Levels = {}
    for dataset in datasets:
        path = str(dataset["path"])
        if not stays_inside(path):
            raise InputError(
                f"{where}: the level path {path!r} leaves the store; correct the metadata: paths lie below the group"
            )
        try:
            store = zarr_store(f"{where}/{path}")
            arrays[path] = zarr.open_array(store, mode="r", zarr_format=group.metadata.zarr_format)
        except Exception as error:
            said, paths = describe_error(error), ", ".join(str(d["path"]) for d in datasets)
            raise InputError(
                f"{where}: there is no readable array at level path {path!r} ({said}); its metadata name the levels "
                f"{paths}: write the image again, or take this level out"
            ) from shown_cause(error)
    return arrays


def check_arrays(arrays: Levels, axes: Sequence[str], where: str) -> None:
    """Refuse dtypes that are not numbers, levels that do not go together, and axes of length 0."""
    (first_path, first), *others = arrays.items()
    if first.dtype.kind not in "iuf":
        raise InputError(
            f"{where}/{first_path}: its dtype is {first.dtype}; convert it to integers or floating point numbers"
        )
    for path, array in others:
        if array.dtype.newbyteorder("=") != first.dtype.newbyteorder("=") or array.ndim != first.ndim:
            raise InputError(
                f"{where}/{path}: this level has {array.ndim} dimensions of {array.dtype}, but level {first_path!r} "
                f"has {first.ndim} of {first.dtype}; write the pyramid again"
            )
    for path, array in arrays.items():
        for name, length, finest in zip(axes, array.shape, first.shape, strict=True):
            if length == 0:
                raise InputError(
                    f"{where}/{path}: there are no voxels on axis {name} (shape {array.shape}); write the image again"
                )
            if name in "tc" and length != finest:
                raise InputError(
                    f"{where}/{path}: axis {name} has {length}, but level {first_path!r} has {finest}; write the "
                    "pyramid again"
                )
