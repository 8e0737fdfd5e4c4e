"""Opens OME-Zarr images and labels: reads and checks all their metadata, but no voxels.

`ImageInfo` is frozen data without open handles, so it can be sent to workers. Shapes, scales and boxes are (z, y, x),
and scales are in micrometres, whatever the store's version and units.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import zarr

from bigcp3d.edge.image.chunk_names import check_chunk_names
from bigcp3d.edge.image.chunk_sizes import unread_chunks
from bigcp3d.edge.image.coordinate_systems import in_one_system
from bigcp3d.edge.image.metadata import (
    check_lists,
    first_multiscale,
    is_labels,
    ome_part,
    read_axes,
    read_version,
    stays_inside,
)
from bigcp3d.edge.image.open_node import explain_folder, find_group, find_node, metadata_file, open_node
from bigcp3d.edge.image.transforms import read_transform, read_units
from bigcp3d.edge.stores.axis_order import index_of, spatial
from bigcp3d.edge.stores.codecs import check_codecs, describe_missing_codec, register_installed
from bigcp3d.edge.stores.connections import describe_error, shown_cause
from bigcp3d.edge.stores.places import Place, place, zarr_store
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Float3, Vec3

Array = zarr.Array[Any]
T = TypeVar("T")

log = logging.getLogger(__name__)

register_installed()  # here, since every process that reads an image imports this module


@dataclass(frozen=True)
class Level:
    """One resolution of an image or labels; (z, y, x) only."""

    path: str  # of the array inside the group: "0", "s0"
    shape: Vec3
    scale_um: Float3 | None  # micrometres per voxel; None where the store does not state it
    translation_um: Float3  # of the first voxel's centre; zeros where the store does not state it


@dataclass(frozen=True)
class ImageInfo:
    """What is known of an image without reading voxels."""

    path: str  # of the group, absolute
    version: str  # of OME-Zarr, "0.1" to "0.6"
    zarr_format: int  # 2 or 3
    axes: tuple[str, ...]  # of the arrays, in their order: z, y, x need not come last
    levels: tuple[Level, ...]  # finest first
    dtype: str  # numpy's name: "uint16"
    channels: int  # 1 without an axis c
    times: int  # 1 without an axis t
    channel_names: tuple[str, ...]  # empty where the store names none
    label_names: tuple[str, ...]
    units: tuple[str | None, ...] = (None, None, None)  # of z, y, x in the store's words; None where it is not a length

    def spatial(self, each: Sequence[int]) -> Vec3:
        """Of one number for each axis of the arrays, those of z, y and x."""
        return spatial(self.axes, each)

    def index(self, channel: int, time: int, zyx: Sequence[T]) -> tuple[T | int, ...]:
        """What is given for the axes, in the order in which the arrays have them."""
        return index_of(self.axes, channel, time, zyx)


def open_image(path: str | Place) -> ImageInfo:
    """Metadata of an OME-Zarr image; `InputError` where the path is not an image that can be segmented."""
    where = str(place(path))
    group = open_node(where)
    if isinstance(group, zarr.Array) or first_multiscale(group.attrs.asdict(), where) is None:
        raise InputError(explain_folder(where, group))
    return _describe(group, where)


def open_labels(path: str | Place, name: str) -> ImageInfo:
    """Metadata of labels: ``labels/<name>`` of an image group, ``<name>`` of a labels group, or the group itself.

    `InputError` where there are no such labels, the name points out of the store, or the labels are not integers.
    """
    where = str(place(path))
    if not stays_inside(name):
        raise InputError(
            f"{where}: the labels name {name!r} points out of the store to other files; give the labels' own path"
        )
    group = open_node(where)
    if isinstance(group, zarr.Array):
        raise InputError(explain_folder(where, group))
    names = label_names(where, group)
    for inside in (f"labels/{name}", name):
        node = find_group(f"{where}/{inside}") if name else None
        if node is not None and first_multiscale(node.attrs.asdict(), where) is not None:
            return check_labels(_describe(node, f"{where}/{inside}"))
    attributes = group.attrs.asdict()
    if not (names and name) and is_labels(attributes) and first_multiscale(attributes, where) is not None:
        return check_labels(_describe(group, where))
    if not names and not is_labels(attributes) and first_multiscale(attributes, where) is None:
        raise InputError(explain_folder(where, group))
    if name and isinstance(find_node(inside := f"{where}/labels/{name}"), zarr.Array):
        raise InputError(
            f"{inside}: this array has no OME-Zarr metadata, so it can only serve as true labels, given by this "
            "path; for other uses write it into an OME-Zarr group"
        )
    raise InputError(
        f"{where}: there are no labels {name!r}; use one of these: {', '.join(names) or 'none'}, or give the path of a "
        "labels group"
    )


def check_labels(info: ImageInfo) -> ImageInfo:
    """Refuse labels that are not integers or have several channels."""
    if np.dtype(info.dtype).kind not in "iu":
        raise InputError(f"{info.path}: these labels are {info.dtype}; convert them to integers")
    if info.channels != 1:
        raise InputError(f"{info.path}: these labels have {info.channels} channels on axis c; split them")
    return info


def label_names(where: str, group: zarr.Group) -> tuple[str, ...]:
    """Names in the labels list of an image or labels group, without those that have no group."""
    labels = find_group(f"{where}/labels")
    holder = where if labels is None else f"{where}/labels"
    listed = ome_part((group if labels is None else labels).attrs.asdict()).get("labels")
    names = [str(name) for name in listed] if isinstance(listed, list) else []
    found = tuple(name for name in names if stays_inside(name) and find_group(f"{holder}/{name}") is not None)
    if len(found) < len(names):
        missing = ", ".join(sorted(set(names) - set(found)))
        log.info("%s: the labels list names %s, which are not there", holder, missing)
    return found


def _describe(group: zarr.Group, where: str) -> ImageInfo:
    """Read and check all metadata of a multiscale group."""
    attributes = group.attrs.asdict()
    zarr_format = int(group.metadata.zarr_format)
    multiscale = first_multiscale(attributes, where) or {}
    check_lists(multiscale, where)
    multiscale = in_one_system(multiscale, where)
    version = read_version(attributes, zarr_format, where)
    arrays = _open_levels(group, multiscale, where)
    path, first = max(arrays.items(), key=lambda item: item[1].size)
    axes = read_axes(multiscale, version, getattr(first.metadata, "dimension_names", None), first.ndim, where)
    _check_finest(path, first, axes, where)
    arrays = _levels_that_fit(arrays, axes, where)
    units = read_units(multiscale, where)
    levels = []
    datasets = {str(dataset["path"]): dataset for dataset in multiscale["datasets"]}
    for path, array in arrays.items():
        if isinstance(folder := place(f"{where}/{path}"), Path):
            check_chunk_names(array, folder)
        scale, translation = read_transform(multiscale, datasets[path], axes, units, f"{where}/{path}")
        levels.append(Level(path, spatial(axes, array.shape), scale, translation))
    lengths = dict(zip(axes, first.shape, strict=True))
    channels = lengths.get("c", 1)
    return ImageInfo(
        path=where,
        version=version,
        zarr_format=zarr_format,
        axes=axes,
        levels=tuple(levels),
        dtype=first.dtype.newbyteorder("=").name,
        channels=channels,
        times=lengths.get("t", 1),
        channel_names=_channel_names(attributes, channels),
        label_names=label_names(where, group),
        units=units or (None, None, None),
    )


def _channel_names(attributes: Mapping[str, Any], channels: int) -> tuple[str, ...]:
    """Names of the channels in ``omero``; empty unless there is one for each channel."""
    omero = ome_part(attributes).get("omero")
    entries = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(entries, list):  # names are optional, so bad ones are no reason to refuse an image
        return ()
    labels = [e.get("label") for e in entries if isinstance(e, Mapping)]
    names = tuple(str(i if label in (None, "") else label) for i, label in enumerate(labels))
    return names if len(names) == channels else ()


def _open_levels(group: zarr.Group, multiscale: Mapping[str, Any], where: str) -> dict[str, Array]:
    """The arrays that the datasets name, by path, in order; those that are not there are left out with a warning."""
    datasets = multiscale.get("datasets")
    usable = isinstance(datasets, list) and all(isinstance(d, Mapping) and "path" in d for d in datasets)
    if not datasets or not usable:
        raise InputError(
            f"{where}: its datasets are {datasets!r}, and a list of objects with a path is needed; correct the "
            "metadata, or write the image again"
        )
    arrays: dict[str, Array] = {}
    packed: dict[str, str] = {}
    paths = [str(dataset["path"]) for dataset in datasets]
    for path in paths:
        if not stays_inside(path):
            raise InputError(
                f"{where}: the level path {path!r} leaves the store; correct the metadata: paths lie below the group"
            )
        try:
            store = zarr_store(f"{where}/{path}")
            array = zarr.open_array(store, mode="r", zarr_format=group.metadata.zarr_format)
            check_codecs(array)
            arrays[path] = array
        except Exception as error:
            if (missing := describe_missing_codec(error)) is not None:
                packed[path] = missing
                continue
            if unread := unread_chunks(place(f"{where}/{path}")):
                raise InputError(f"{where}/{path}: {unread}") from error
            text = f"there is no readable array at level path {path!r} ({describe_error(error, where)})"
            if metadata_file(place(f"{where}/{path}")) is None and (arrays or path != paths[-1]):
                log.warning("%s: %s; it is not used", where, text)
                continue
            raise InputError(
                f"{where}: {text}; its metadata name the levels {', '.join(paths)}: write the image again, or take "
                "this level out"
            ) from shown_cause(error)
    for path, missing in packed.items():  # a coarser level is not needed
        if not arrays or _stored_size(f"{where}/{path}") >= max(array.size for array in arrays.values()):
            raise InputError(f"{where}/{path}: {missing}")
        log.warning("%s/%s: this level is not used: %s", where, path, missing)
    return arrays


def _stored_size(where: str) -> int:
    """Voxels of an array that zarr does not open, from its metadata file."""
    file = metadata_file(place(where))
    return math.prod(json.loads((place(where) / str(file)).read_bytes())["shape"])


def _levels_that_fit(arrays: dict[str, Array], axes: Sequence[str], where: str) -> dict[str, Array]:
    """The levels from fine to coarse. Those that do not go with the finest are left out, with a warning."""
    ordered = dict(sorted(arrays.items(), key=lambda item: -item[1].size))
    if list(ordered) != list(arrays):
        log.warning("%s: its levels are not in order; taken from fine to coarse as %s", where, ", ".join(ordered))
    fitting: dict[str, Array] = {}
    for path, array in ordered.items():
        before = next(reversed(fitting.values()), array)
        if fault := _misfit(array, before, axes):
            log.warning("%s: level %r is not used: %s", where, path, fault)
        else:
            fitting[path] = array
    return fitting


def _misfit(array: Array, finer: Array, axes: Sequence[str]) -> str | None:
    """Why a level does not go with the finer one before it; None if it does."""
    if array.dtype.newbyteorder("=") != finer.dtype.newbyteorder("=") or array.ndim != finer.ndim:
        return f"it has {array.ndim} dimensions of {array.dtype}, but the finer level has {finer.ndim} of {finer.dtype}"
    for name, length, finest in zip(axes, array.shape, finer.shape, strict=True):
        if length == 0:
            return f"there are no voxels on axis {name}"
        if length > finest or (name in "tc" and length != finest):
            return f"it has {length} on axis {name}, but the finer level has {finest}"
    return None


def _check_finest(path: str, array: Array, axes: Sequence[str], where: str) -> None:
    """Refuse dtypes that are not numbers, and axes of length 0."""
    if array.dtype.kind not in "iuf":
        numbers = "integers" if array.dtype.kind == "b" else "integers or floating point numbers"
        raise InputError(f"{where}/{path}: its dtype is {array.dtype}; convert it to {numbers}")
    for name, length in zip(axes, array.shape, strict=True):
        if length == 0:
            raise InputError(
                f"{where}/{path}: there are no voxels on axis {name} (shape {array.shape}); write the image again"
            )
