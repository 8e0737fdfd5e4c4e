"""Exports labels or an image to a TIFF file, plane by plane, or a whole store to one zip archive, ``.ozx``."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.convert.write_tiff import IMAGEJ_DTYPES, is_ome, write_tiff
from bigcp3d.edge.image.image import ImageInfo, open_image, open_labels
from bigcp3d.edge.image.level_geometry import cumulated_factors, placed, with_told_scale
from bigcp3d.edge.image.metadata import ome_part
from bigcp3d.edge.image.open_node import read_attributes
from bigcp3d.edge.image.voxels import check_channel, check_level, read_box, stored_chunk
from bigcp3d.edge.labels.check_target import check_space
from bigcp3d.edge.stores.check_writable import check_file
from bigcp3d.edge.stores.places import place
from bigcp3d.edge.stores.write_zip import write_zip
from bigcp3d.errors import InputError
from bigcp3d.option import check_choices, takes
from bigcp3d.pure.boxes import Box, float3
from bigcp3d.pure.score.overlaps import known_ids
from bigcp3d.schedule.edits.correction import settle_labels
from bigcp3d.schedule.planning.export_request import ExportRequest
from bigcp3d.schedule.planning.region import find_region, find_times
from bigcp3d.work.analyse.blocks_read import BlocksRead
from bigcp3d.work.cores_and_memory import memory_per_worker

log = logging.getLogger(__name__)

SUFFIXES = (".tif", ".tiff", ".btf")
ARCHIVE = ".ozx"
EXACT_FLOAT32 = 2**24
"""Largest id up to which float32 holds every whole number."""


@dataclass(frozen=True)
class Exported:
    """What was written: ``shape`` is (t, c, z, y, x), ``scale_um`` the voxel size (z, y, x)."""

    path: Path
    shape: tuple[int, ...]
    dtype: str
    scale_um: tuple[float, float, float] | None


@dataclass(frozen=True)
class _Part:
    """What is read: a level of an image or labels, a box of it, time points and channels."""

    info: ImageInfo
    level: int
    box: Box
    times: tuple[int, ...]
    channels: tuple[int, ...]

    def slabs(self) -> Iterator[Box]:
        """The box in slabs as thick as the stored chunks, in the order of z."""
        depth = stored_chunk(self.info, self.level)[0]
        (first, y0, x0), (last, y1, x1) = self.box.start, self.box.stop
        for start in range(first - first % depth, last, depth):
            yield Box((max(start, first), y0, x0), (min(start + depth, last), y1, x1))

    def read(self, slab: Box, time: int, channel: int) -> NDArray[Any]:
        return read_box(self.info, self.level, slab, channel=channel, time=time)


@takes(ExportRequest)
def export(
    store: str | Path,
    output: str | Path,
    *,
    on_event: Callable[[BlocksRead], None] | None = None,
    **arguments: Any,
) -> Exported:
    """Export labels or an image to a TIFF file, with voxel size and names of channels; or a store to one ``.ozx``.

    Reads one layer of stored chunks at a time. Ids of labels stay as they are: uint16 where they fit, else uint32 in
    OME-TIFF and float32 in ImageJ, which has no uint32.

    Parameters
    ----------
    **arguments
    on_event : callable, optional
        Receives the number of slabs that were read and of all slabs, after each slab.

    Returns
    -------
    Exported

    Raises
    ------
    InputError, TargetError
        The store, the region or the file cannot be used; ImageJ cannot hold such numbers.

    Examples
    --------
    >>> bigcp3d.export("tissue.zarr", "cells.tif", roi=":,0:32,0:32").shape
    (1, 1, 24, 32, 32)
    """
    request = ExportRequest(store, output, **arguments)
    check_choices(request)
    path = Path(output).expanduser()
    if path.suffix.lower() not in (*SUFFIXES, ARCHIVE):
        raise InputError(
            f"{path}: export writes a TIFF file or a zip archive; give a name that ends in .ome.tif, .tif or {ARCHIVE}"
        )
    check_file(output, overwrite=request.overwrite)
    if path.suffix.lower() == ARCHIVE:
        return _export_archive(request, path, on_event)
    return _export_tiff(request, path, on_event)


def _export_tiff(request: ExportRequest, path: Path, on_event: Callable[[BlocksRead], None] | None) -> Exported:
    """Write a part of an image or labels into a TIFF file."""
    part = _choose_part(request)
    slabs = list(part.slabs())
    _check_memory(part, slabs, path)
    passes = 2 if request.what == "labels" else 1
    number = itertools.count(1)
    total = passes * len(slabs) * len(part.times) * len(part.channels)

    def read(slab: Box, time: int, channel: int) -> NDArray[Any]:
        voxels = part.read(slab, time, channel)
        if request.what == "labels":
            voxels = known_ids(voxels)
        if on_event is not None:
            on_event(BlocksRead(next(number), total))
        return voxels

    if request.what == "labels":
        largest = max(int(read(slab, time, 0).max()) for time in part.times for slab in slabs)
        dtype = _dtype_of_ids(largest, path)
    else:
        dtype = _dtype_of_image(part.info, path)
    itemsize, box = np.dtype(dtype).itemsize, part.box
    check_space(path, 0 if is_ome(path) else math.prod(box.shape) * itemsize * len(part.times) * len(part.channels))
    planes = _planes(part, slabs, read, dtype, together=not is_ome(path))
    level = part.info.levels[part.level]
    names = [part.info.channel_names[c] for c in part.channels] if part.info.channel_names else []
    lead = (len(part.times), len(part.channels), box.shape[0])
    order = lead if is_ome(path) else (lead[0], lead[2], lead[1])
    write_tiff(
        path,
        planes,
        (*order, *box.shape[1:]),
        dtype,
        scale_um=level.scale_um,
        channel_names=names if request.what == "image" else [],
        name=path.name.split(".")[0],
    )
    return Exported(path, (*lead, *box.shape[1:]), dtype, level.scale_um)


def _export_archive(request: ExportRequest, path: Path, on_event: Callable[[BlocksRead], None] | None) -> Exported:
    """Write the whole store into one zip archive."""
    plain = ExportRequest(request.store, request.output)
    names = [field.name for field in fields(request) if field.name != "overwrite"]
    if chosen := [name for name in names if getattr(request, name) != getattr(plain, name)]:
        raise InputError(f"{path}: a zip archive holds the whole store; leave out {', '.join(chosen)}")
    info = open_image(request.store)
    if info.zarr_format != 3:
        raise InputError(
            f"{info.path}: it is OME-Zarr {info.version} (zarr {info.zarr_format}), and {ARCHIVE} holds zarr 3; write "
            "the image as 0.5 first"
        )
    for name in info.label_names:
        settle_labels(info.path, name)
    stated = ome_part(read_attributes(info.path)).get("version")
    tell = on_event or (lambda _: None)
    write_zip(place(info.path), path, str(stated or info.version), lambda *counts: tell(BlocksRead(*counts)))
    first = info.levels[0]
    return Exported(path, (info.times, info.channels, *first.shape), info.dtype, first.scale_um)


def _choose_part(request: ExportRequest) -> _Part:
    """Open the store and check level, region, times and channels."""
    if request.what == "labels":
        if request.channel is not None:
            raise InputError("labels have no channels; leave --channel out, or give --what image")
        settle_labels(request.store, request.name)
        info = with_told_scale(open_labels(request.store, request.name))
        channels: Sequence[int] = (0,)
    else:
        info = open_image(request.store)
        asked = request.channel
        wanted = range(info.channels) if asked is None else [asked] if isinstance(asked, int | str) else asked
        channels = [check_channel(info, channel) for channel in wanted]
    if request.scale_um is not None:
        if not all(math.isfinite(size) and size > 0 for size in request.scale_um):
            raise InputError(f"scale is {request.scale_um} um per voxel; give positive numbers (--scale)")
        info = placed(info, request.scale_um)
    level = check_level(info, request.level)
    shape = info.levels[level].shape
    region = find_region(request.roi, info)
    box = Box.of_shape(shape)
    if region is not None:
        box = region.scaled(float3(1 / f for f in cumulated_factors(info)[level])).clip(shape)
    return _Part(info, level, box, find_times(request.time, info), tuple(channels))


def _dtype_of_ids(largest: int, path: Path) -> str:
    """The smallest type that holds all ids, and that the format has."""
    if largest < 2**16:
        return "uint16"
    if largest >= 2**32:
        raise InputError(
            f"{path}: the ids go up to {largest:,}, and TIFF holds up to {2**32 - 1:,}; renumber the cells from 1: "
            "bigcp3d edit STORE renumber"
        )
    if is_ome(path):
        return "uint32"
    if largest > EXACT_FLOAT32:
        raise InputError(
            f"{path}: the ids go up to {largest:,}, and ImageJ holds whole numbers up to {EXACT_FLOAT32:,}; write "
            "OME-TIFF: give a name that ends in .ome.tif"
        )
    log.warning("%s: the ids go up to %d, so they are written as float32; uint16 ends at 65,535", path, largest)
    return "float32"


def _dtype_of_image(info: ImageInfo, path: Path) -> str:
    if is_ome(path):
        if np.dtype(info.dtype).itemsize > 4 and np.dtype(info.dtype).kind in "iu":
            raise InputError(f"{info.path}: its dtype is {info.dtype}, which OME-TIFF does not have; convert it")
        return info.dtype
    if info.dtype not in IMAGEJ_DTYPES:
        raise InputError(
            f"{info.path}: its dtype is {info.dtype}, and ImageJ has {', '.join(IMAGEJ_DTYPES)}; write OME-TIFF: "
            "give a name that ends in .ome.tif"
        )
    return info.dtype


def _check_memory(part: _Part, slabs: Sequence[Box], path: Path) -> None:
    """Refuse slabs that do not fit into memory, twice for a change of the dtype; ImageJ has the channels together."""
    together = 1 if is_ome(path) else len(part.channels)
    most = max(slab.size for slab in slabs) * np.dtype(part.info.dtype).itemsize * together * 2
    here = memory_per_worker(1)
    if most > here:
        raise InputError(
            f"{path}: a layer of the image's chunks needs {most / 2**30:.1f} GiB of memory, and there are "
            f"{here / 2**30:.1f}; export a part (--roi) or a coarser level (--level)"
        )


def _planes(
    part: _Part, slabs: Sequence[Box], read: Callable[[Box, int, int], NDArray[Any]], dtype: str, *, together: bool
) -> Iterator[NDArray[Any]]:
    """All planes in the order of the file. With ``together``, the channels of a plane follow each other."""
    groups = [part.channels] if together else [(channel,) for channel in part.channels]
    for time in part.times:
        for group in groups:
            for slab in slabs:
                stacks = [read(slab, time, channel).astype(dtype, copy=False) for channel in group]
                for planes in zip(*stacks, strict=True):
                    yield from planes
