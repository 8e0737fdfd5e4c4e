"""Writes labels into an OME-Zarr store: makes empty arrays, fills them shard by shard, and lists the labels last.

::

    <group>/labels              the list of names; `finish_labels` adds the name
    <group>/labels/<name>       multiscales and image-label, written by `finish_labels`
    <group>/labels/<name>/0..   one array for each level, all zero until written

Invariant: until `finish_labels`, no reader finds the labels; only ``labels/<name>`` and the list are changed. Labels of
zarr 2 images are OME-Zarr 0.4, also where the image is 0.1 to 0.3, which cannot state a scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from bigcp3d.edge.image.transforms import Placed, describe_levels, units_um
from bigcp3d.edge.labels.check_target import check_target
from bigcp3d.edge.labels.label_list import enter_label, image_label, show_at_root, versioned, withdraw_label
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.stores.axis_order import index_of, to_zyx
from bigcp3d.edge.stores.connections import describe_error, shown_cause
from bigcp3d.edge.stores.places import place, remove, zarr_store
from bigcp3d.edge.stores.zarr_write import (
    edit_group,
    is_group,
    keeping_consolidated,
    make_array,
    write_part,
    write_whole,
    writing,
)
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, float3
from bigcp3d.version import __version__


def create_labels(target: LabelTarget, *, overwrite: bool, attributes: Mapping[str, Any] | None = None) -> None:
    """Make the arrays of the labels, all zero; readers do not find them yet. `TargetError` as `check_target`.

    ``overwrite`` allows labels of the same name to be removed first. ``attributes`` of the labels group stay until
    `finish_labels` gives others of the same keys.
    """
    check_target(target, overwrite=overwrite)
    root, labels = place(target.group), place(target.group) / "labels"
    with writing(target.path), keeping_consolidated(labels):
        withdraw_label(target)
        remove(target.path)
        if not is_group(root):
            edit_group(root, target.zarr_format, versioned(target, {}))
        edit_group(labels, target.zarr_format, {})
        edit_group(target.path, target.zarr_format, attributes or {})
        stored: Any = {"axes": target.axes, "chunk": target.chunk, "shard": target.shard}
        lead = tuple((target.times or 1) if name == "t" else 1 for name in target.axes[:-3])
        for level in target.levels:
            make_array(
                target.path / level.path, (*lead, *level.shape), target.dtype, zarr_format=target.zarr_format, **stored
            )


def write_label_box(target: LabelTarget, level: int, box: Box, array: NDArray[Any], *, time: int = 0) -> None:
    """Write whole shards of a level so that they would survive a power cut; `TargetError` where the disk is full.

    On every axis the box goes from a multiple of ``target.shard`` to another, or to the end. Ids have ``target.dtype``.
    """
    path = target.path / target.levels[level].path
    write_whole(path, target.zarr_format, target.axes, box, array, time=time, sync=True)


def write_label_part(target: LabelTarget, level: int, box: Box, array: NDArray[Any], *, time: int = 0) -> None:
    """Write any box of a level; only who holds the lock of the labels may do so (`write_part`)."""
    write_part(target.path / target.levels[level].path, target.zarr_format, target.axes, box, array, time=time)


def read_label_box(target: LabelTarget, level: int, box: Box, *, time: int = 0) -> NDArray[Any]:
    """Read a box of labels that are being written; `InputError` where a chunk is damaged."""
    path = target.path / target.levels[level].path
    index: Any = index_of(target.axes, 0, time, box.slices())
    try:
        array = zarr.open_array(zarr_store(path), mode="r", zarr_format=target.zarr_format)  # type: ignore[arg-type]
        return np.ascontiguousarray(to_zyx(target.axes, np.asarray(array[index], target.dtype)))
    except Exception as error:
        raise InputError(
            f"{path}: labels cannot be read in box {box.start} to {box.stop}, time {time}: {describe_error(error)}; "
            "segment again with --overwrite, or put back a copy of the labels"
        ) from shown_cause(error)


def finish_labels(target: LabelTarget, *, attributes: Mapping[str, Any]) -> None:
    """Write the metadata and list the labels; may be repeated; `TargetError` where the store cannot be written.

    ``attributes`` are further attributes of the labels group: how the labels were made.
    """
    if clash := sorted(set(attributes) & {"ome", "multiscales", "image-label", "labels"}):
        raise ValueError(f"attributes {clash} belong to OME-Zarr")
    pooling = {
        "description": "most frequent id of the labelled voxels of a window that is at least half labelled; "
        "ties to the smaller id; otherwise 0",
        "method": "bigcp3d.pure.label.pooling.pool_labels",
        "version": __version__,
    }
    units = target.units if target.levels[0].scale_um else (None, None, None)
    more = {"name": target.name, "type": "mode", "metadata": pooling}
    levels = list(_placed(target))
    multiscale = describe_levels(target.version, target.axes, units, levels, **more)
    metadata = versioned(target, {"multiscales": [multiscale], "image-label": image_label(target, target.path)})
    from_root = [(f"labels/{target.name}/{path}", scale, shift) for path, scale, shift in levels]
    with writing(target.path), keeping_consolidated(target.path):
        edit_group(target.path, target.zarr_format, {**metadata, **attributes})
        enter_label(target)
        show_at_root(target, describe_levels(target.version, target.axes, units, from_root, **more))


def _placed(target: LabelTarget) -> Iterator[Placed]:
    """Scale and translation of each level in the image's units; without a scale, level 0 has voxels of 1."""
    unit = units_um(target.units)
    grown = [1.0, 1.0, 1.0]
    for level, factors in zip(target.levels, target.factors, strict=True):
        grown = [g * f for g, f in zip(grown, factors, strict=True)]
        if level.scale_um is None:
            yield level.path, float3(grown), float3((g - 1) / 2 for g in grown)
        else:
            scale = float3(s / u for s, u in zip(level.scale_um, unit, strict=True))
            yield level.path, scale, float3(t / u for t, u in zip(level.translation_um, unit, strict=True))
