"""Opens OME-Zarr images and labels: reads and checks all their metadata, but no voxels.

`ImageInfo` is frozen data without open handles, so it can be sent to workers. Shapes, scales and boxes are (z, y, x),
and scales are in micrometres, whatever the store's version and units.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr

from bigcp3d.edge.image.image_info import ImageInfo, Level
from bigcp3d.edge.image.level_arrays import check_arrays, open_levels
from bigcp3d.edge.image.metadata import first_multiscale, ome_part, read_axes, read_version, stays_inside
from bigcp3d.edge.image.open_node import explain_folder, open_node
from bigcp3d.edge.image.transforms import read_transform, read_units
from bigcp3d.edge.image.voxels import check_channel, check_level, check_time, read_box, stored_chunk
from bigcp3d.edge.stores.places import Place, place
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import vec3

__all__ = [
    "ImageInfo",
    "Level",
    "check_channel",
    "check_level",
    "check_time",
    "open_image",
    "open_labels",
    "read_box",
    "stored_chunk",
]

log = logging.getLogger(__name__)


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
        raise InputError(f"{where}: the labels name {name!r} points out of the store; give the labels' own path")
    group = open_node(where)
    if isinstance(group, zarr.Array):
        raise InputError(explain_folder(where, group))
    names = label_names(where, group)
    for inside in (f"labels/{name}", name):
        node = _member(f"{where}/{inside}") if name else None
        if node is not None and first_multiscale(node.attrs.asdict(), where) is not None:
            return _check_labels(_describe(node, f"{where}/{inside}"))
    attributes = group.attrs.asdict()
    if not names and "image-label" in ome_part(attributes) and first_multiscale(attributes, where) is not None:
        return _check_labels(_describe(group, where))
    raise InputError(
        f"{where}: there are no labels {name!r}; use one of these: {', '.join(names) or 'none'}, or give the path of a "
        "labels group"
    )


def _check_labels(info: ImageInfo) -> ImageInfo:
    """Refuse labels that are not integers or have several channels."""
    if np.dtype(info.dtype).kind not in "iu":
        raise InputError(f"{info.path}: these labels are {info.dtype}; convert them to integers")
    if info.channels != 1:
        raise InputError(f"{info.path}: these labels have {info.channels} channels on axis c; split them")
    return info


def _member(path: str) -> zarr.Group | None:
    """A group inside a store, or None; opened by itself, since consolidated metadata may not list it."""
    try:
        node = open_node(path)
    except InputError:
        return None
    return node if isinstance(node, zarr.Group) else None


def label_names(where: str, group: zarr.Group) -> tuple[str, ...]:
    """Names in the labels list of an image or labels group for which there is a group."""
    labels = _member(f"{where}/labels")
    holder = where if labels is None else f"{where}/labels"
    listed = ome_part((group if labels is None else labels).attrs.asdict()).get("labels")
    names = [str(name) for name in listed] if isinstance(listed, list) else []
    found = tuple(name for name in names if stays_inside(name) and _member(f"{holder}/{name}") is not None)
    if len(found) < len(names):
        missing = ", ".join(sorted(set(names) - set(found)))
        log.info("%s: the labels list names %s, which are not there", holder, missing)
    return found


def _describe(group: zarr.Group, where: str) -> ImageInfo:
    """Read and check all metadata of a multiscale group."""
    attributes = group.attrs.asdict()
    zarr_format = int(group.metadata.zarr_format)
    multiscale = first_multiscale(attributes, where) or {}
    version = read_version(attributes, zarr_format, where)
    arrays = open_levels(group, multiscale, where)
    first = next(iter(arrays.values()))
    axes = read_axes(multiscale, version, getattr(first.metadata, "dimension_names", None), first.ndim, where)
    check_arrays(arrays, axes, where)
    units = read_units(multiscale, where)
    levels = []
    for path, dataset in zip(arrays, multiscale["datasets"], strict=True):
        scale, translation = read_transform(multiscale, dataset, axes, units, f"{where}/{path}")
        levels.append(Level(path, vec3(arrays[path].shape[-3:]), scale, translation))
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
    names = tuple(str(e.get("label") or i) for i, e in enumerate(entries) if isinstance(e, Mapping))
    return names if len(names) == channels else ()
