"""Converts a volume of another format to OME-Zarr with a pyramid, piece by piece, in bounded memory.

::

    .OUT.zarr.partial/settings.json     what is converted, and how; other settings begin anew
    .OUT.zarr.partial/records/          the pieces that are written
    .OUT.zarr.partial/image/            the store, which becomes OUT.zarr when it is complete

Each voxel of the source is read once. Coarser levels are made from the levels below. A conversion that was stopped goes
on with the same command, and its store is equal, byte for byte, to that of a conversion that was not.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from bigcp3d.edge.convert.open_source import open_source, stamp
from bigcp3d.edge.convert.volume import Volume, name_volume
from bigcp3d.edge.image.image import ImageInfo, open_image
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.edge.image.other_formats import store_beside
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.labels.check_new_image import check_new_image
from bigcp3d.edge.labels.check_target import check_space
from bigcp3d.edge.stores import platforms
from bigcp3d.edge.stores.atomic_files import write_json
from bigcp3d.edge.stores.new_store import partial_of, put_in_place
from bigcp3d.edge.stores.places import lies_in, place, refuse_address
from bigcp3d.edge.stores.zarr_write import edit_attributes, plain_json, writing
from bigcp3d.edge.workdir.records import read_record, write_record
from bigcp3d.errors import BigCP3DError, InputError, TargetError
from bigcp3d.option import takes
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.mean_pool import choose_factors, pool_means
from bigcp3d.pure.memory import format_bytes
from bigcp3d.version import __version__
from bigcp3d.work.analyse.blocks_read import BlocksRead
from bigcp3d.work.convert.omero import describe_channels
from bigcp3d.work.convert.pieces import BUDGET_BYTES, Piece, choose_chunk_and_shard, list_pieces
from bigcp3d.work.convert.settings import ConvertSettings

log = logging.getLogger(__name__)

SMALLEST_LEVEL = 64
"""The pyramid ends with the level whose sides are at most this long."""


@takes(ConvertSettings)
def convert(
    source: str | Path,
    output: str | Path | None = None,
    *,
    on_event: Callable[[BlocksRead], None] | None = None,
    **arguments: Any,
) -> ImageInfo:
    """Convert a file or a folder of planes to an OME-Zarr image with a pyramid.

    Uses about half a gigabyte of memory for volumes of any size. If it is stopped, the same call goes on.

    Parameters
    ----------
    **arguments
    on_event : callable, optional
        Receives the number of finished pieces and of all pieces, after each piece.

    Returns
    -------
    ImageInfo
        Of the finished image.

    Raises
    ------
    InputError, TargetError
        Before anything is written: the file cannot be read or does not say its axes or its voxel size; the store exists
        or cannot be written.

    Examples
    --------
    >>> import numpy as np, tifffile
    >>> stack = np.zeros((10, 2, 32, 32), np.uint16)  # z, c, y, x
    >>> said = {"axes": "ZCYX", "spacing": 1.0, "unit": "um"}
    >>> tifffile.imwrite("stack.tif", stack, imagej=True, resolution=(2, 2), metadata=said)
    >>> image = bigcp3d.convert("stack.tif", "stack.zarr", channels="membrane,nuclei")
    >>> image.levels[0].shape, image.levels[0].scale_um, image.channel_names
    ((10, 32, 32), (1.0, 0.5, 0.5), ('membrane', 'nuclei'))
    """
    settings = ConvertSettings(source, output, **arguments)
    settings.check()
    refuse_address(settings.output, "the place of a conversion", "convert into a local folder and copy that")
    file = _absolute(settings.source)
    where = store_beside(file) if settings.output is None else _absolute(settings.output)
    with open_source(settings.source, series=settings.series, dataset=settings.dataset) as opened:
        volume = name_volume(opened, axes=settings.axes, scale_um=settings.scale_um, channels=settings.channels)
        _check_target(file, where, volume, overwrite=settings.overwrite)
        for note in volume.notes:
            log.warning("%s: %s", opened.path, note)
        before = stamp(file, opened.dataset)
        read = {**before, "series": settings.series, "dataset": opened.dataset}
        asked = plain_json({"version": __version__, "source": read, **_layout(volume, settings.format)})
        with _alone(where) as partial:
            image = _begin_or_resume(partial, asked, volume, where.stem)
            _fill(image, volume, vec3(asked["shard"]), partial / "records", on_event or (lambda event: None))
            if stamp(file, opened.dataset) != before:
                raise InputError(f"{file}: it changed while it was read; convert it again")
            _describe(image, volume, asked["source"])
            _check_place(file, where, overwrite=settings.overwrite)  # again: it may hold labels by now
            put_in_place(partial / "image", where)
            shutil.rmtree(partial, ignore_errors=True)
    log.info("%s: converted to %s", file, where)
    return open_image(where)


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))


def _check_place(file: Path, where: Path, *, overwrite: bool) -> None:
    """Refuse a place that cannot take the image, and one that lies in the folder of the source or holds the source."""
    check_new_image(where, overwrite=overwrite)
    if lies_in(file, where) or lies_in(where, file):
        raise TargetError(f"{where}: the image cannot lie in its own source, or around it ({file}); give another path")


def _check_target(file: Path, where: Path, volume: Volume, *, overwrite: bool) -> None:
    """Refuse a target that must not be replaced, and a disk that is too small. Warn where the disk may be."""
    _check_place(file, where, overwrite=overwrite)
    check_space(where, volume.nbytes // 10)  # what is written even if it compresses well
    free = shutil.disk_usage(where.parent if where.parent.exists() else Path.cwd()).free
    if free < volume.nbytes:
        log.warning(
            "%s: up to %s are needed if the voxels do not compress, and %s are free",
            *(where, format_bytes(volume.nbytes * 8 // 7), format_bytes(free)),
        )


def _layout(volume: Volume, version: str) -> dict[str, Any]:
    """All that decides the bytes of the store, beside the voxels."""
    itemsize = np.dtype(volume.dtype).itemsize
    chunk, shard = choose_chunk_and_shard(volume.shape, itemsize, volume.source.rows, BUDGET_BYTES)
    return {
        "axes": volume.axes,
        "shape": volume.shape,
        "dtype": volume.dtype,
        "scale_um": volume.scale_um,
        "channel_names": volume.channel_names,
        "format": version,
        "chunk": chunk,
        "shard": shard,
        "factors": choose_factors(volume.shape, volume.scale_um, SMALLEST_LEVEL),
    }


@contextmanager
def _alone(where: Path) -> Iterator[Path]:
    """The hidden folder of a conversion; `TargetError` where another process writes it. It stays if work fails."""
    partial = partial_of(where)
    with writing(where):
        partial.mkdir(parents=True, exist_ok=True)
        lock = os.open(partial / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        alone = platforms.try_lock(lock)
    except OSError:
        log.info(
            "%s: this file system has no locks, so a second conversion to this place would not be noticed", partial
        )
        alone = True
    try:
        if not alone:
            raise TargetError(f"{where}: another conversion is writing here; wait until it ends, or give another path")
        yield partial
    finally:
        os.close(lock)
    if platforms.WINDOWS:  # which does not remove the lock while it is open, nor one that another conversion opened
        with suppress(OSError):
            (partial / "lock").unlink()
            partial.rmdir()


def _begin_or_resume(partial: Path, asked: dict[str, Any], volume: Volume, name: str) -> ImageInfo:
    """The image to fill: that of an earlier conversion with the same settings, or a new one."""
    image, settings = partial / "image", partial / "settings.json"
    try:
        if json.loads(settings.read_bytes()) == asked:
            return open_image(image)
        log.warning("%s: an unfinished conversion with other settings is discarded", partial)
    except (OSError, ValueError):  # nothing there, or damaged
        pass
    settings.unlink(missing_ok=True)
    for folder in (image, partial / "records"):
        shutil.rmtree(folder, ignore_errors=True)
    made = create_image(
        image,
        volume.shape,
        volume.dtype,
        scale_um=volume.scale_um,
        times=volume.times,
        channels=volume.channels,
        factors=[vec3(factor) for factor in asked["factors"]],
        version=asked["format"],
        chunk=vec3(asked["chunk"]),
        shard=vec3(asked["shard"]),
        name=name,
    )
    write_json(settings, asked)
    return made


def _fill(image: ImageInfo, volume: Volume, shard: Vec3, records: Path, observe: Callable[[BlocksRead], None]) -> None:
    """Write all pieces that have no record yet."""
    itemsize = np.dtype(volume.dtype).itemsize
    pieces = list(list_pieces(image, shard, itemsize, volume.source.rows, BUDGET_BYTES))
    for done, piece in enumerate(pieces, start=1):
        if read_record(records, piece.name, piece.index) is None:
            voxels = _read(volume, piece) if piece.level == 0 else _pool(image, piece)
            at: Any = {"level": piece.level, "time": piece.time, "channel": piece.channel}
            write_image_box(image, piece.box, voxels, **at, sync=True)
            write_record(records, piece.name, piece.index, {})
        observe(BlocksRead(done, len(pieces)))


def _read(volume: Volume, piece: Piece) -> Any:
    try:
        return volume.read(piece.time, piece.channel, piece.box)
    except (BigCP3DError, MemoryError):
        raise
    except Exception as error:  # readers raise many kinds for damaged files
        raise InputError(
            f"{volume.source.path}: planes {piece.box.start[0]} to {piece.box.stop[0] - 1} (channel {piece.channel}, "
            f"time {piece.time}) cannot be read: {type(error).__name__}: {error}; copy or write the file again"
        ) from error


def _pool(image: ImageInfo, piece: Piece) -> Any:
    """A piece of a coarser level, from the level below."""
    below = image.levels[piece.level - 1].shape
    here = image.levels[piece.level].shape
    factors = vec3(2 if b > h else 1 for b, h in zip(below, here, strict=True))
    ends = (vec3(e * f for e, f in zip(end, factors, strict=True)) for end in (piece.box.start, piece.box.stop))
    box = Box(*ends).clip(below)
    return pool_means(read_box(image, piece.level - 1, box, channel=piece.channel, time=piece.time), factors)


def _describe(image: ImageInfo, volume: Volume, source: dict[str, Any]) -> None:
    """Write names and contrast of the channels, and where the image comes from."""
    omero = describe_channels(image, volume.channel_names)
    made = {"version": __version__, "command": "convert", "source": source, "axes": volume.axes}

    def edit(old: Any) -> dict[str, Any]:
        if image.zarr_format == 2:
            return {**old, "omero": omero, "bigcp3d": made}
        return {**old, "ome": {**old["ome"], "omero": omero}, "bigcp3d": made}

    with writing(place(image.path)):
        edit_attributes(place(image.path), image.zarr_format, edit)
