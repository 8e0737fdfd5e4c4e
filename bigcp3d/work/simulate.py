"""Writes a simulated tissue as an OME-Zarr image with its truth, shard by shard, in bounded memory.

A voxel depends on the tissue alone (`bigcp3d.pure.tissue.tissue`), not on chunks or threads. The store is written under
a hidden name beside its target, and moved there when it is complete. So a simulation that was killed leaves nothing
that looks like an image.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo, open_image
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.edge.image.voxels import check_channel, read_box
from bigcp3d.edge.labels.check_new_image import check_new_image
from bigcp3d.edge.labels.check_target import check_target
from bigcp3d.edge.labels.label_plan import chunk_and_shard, plan_labels
from bigcp3d.edge.labels.labels import create_labels, finish_labels, write_label_box
from bigcp3d.edge.stores.new_store import partial_of, put_in_place
from bigcp3d.edge.stores.places import refuse_address, same_place
from bigcp3d.errors import InputError, TargetError
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.choices import WrittenVersion
from bigcp3d.pure.tissue.match_look import match_look
from bigcp3d.pure.tissue.tissue import render
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.version import __version__
from bigcp3d.work.cores_and_memory import default_workers

log = logging.getLogger(__name__)

TRUTH = "truth"
SHARD = (128, 128, 128)

MIDDLE = (128, 256, 256)
"""Voxels of an image of which it is measured how they look."""


def simulate(
    output: str | Path,
    tissue: Tissue,
    *,
    scale_um: tuple[float, float, float] = (1.0, 1.0, 1.0),
    chunk: Vec3 | None = None,
    shard: Vec3 = SHARD,
    threads: int | None = None,
    overwrite: bool = False,
    like: str | Path | None = None,
    channel: int | str = 0,
    version: WrittenVersion = "0.5",
) -> ImageInfo:
    """Write a tissue as an OME-Zarr image with ``labels/truth``, about 2 bytes a voxel.

    Parameters
    ----------
    output : str or Path
        Where the image group goes.
    tissue : Tissue
        What to write; all its parameters are recorded in the labels' attributes.
    scale_um : tuple of float
        Micrometres per voxel, (z, y, x). Only written into the metadata; ``tissue.scale`` decides the cells' shape.
    chunk, shard : tuple of int, optional
        Of the image; a shard holds whole chunks. Default: at most 64 and 128 a side.
    threads : int, optional
        Shards that are made at once. Default: the cores that this process may use, at most 4.
    overwrite : bool
        Replace an image at ``output``, once the new one is complete. Labels in it that were not simulated are never
        replaced.
    like : str or Path, optional
        An OME-Zarr image, without labels, of the same voxel size. Its brightness, noise, blur and fading are measured
        in the middle of it, and set in the tissue (`bigcp3d.pure.tissue.match_look`).
    channel : int or str
        Of ``like``, from 0, or its name.
    version : str
        Version of OME-Zarr; 0.4 has no shards, so there are many more files.

    Returns
    -------
    ImageInfo
        Of the finished image.

    Raises
    ------
    InputError, TargetError
        The scale or the chunk is wrong; ``output`` exists already, or cannot be written.

    Examples
    --------
    >>> tissue = bigcp3d.Tissue((24, 64, 64), diameter_vox=14.0, stain="nuclei", seed=1)
    >>> image = bigcp3d.simulate("tissue.zarr", tissue, scale_um=(1.0, 1.0, 1.0))
    >>> image.levels[0].shape
    (24, 64, 64)
    """
    refuse_address(output, "the place of a simulation", "simulate into a local folder and copy that")
    where = Path(os.path.abspath(os.path.expanduser(output)))
    _check(where, scale_um, overwrite)
    if like is not None:
        if same_place(where, like):
            raise TargetError(f"{where}: the simulation would replace the image that it imitates; give another path")
        tissue = match_look(tissue, read_middle(like, channel))
    chunk, shard = _pieces(tissue.shape, chunk, shard)
    partial = partial_of(where)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        image = create_image(
            partial,
            tissue.shape,
            "uint16",
            scale_um=scale_um,
            version=version,
            chunk=chunk,
            shard=shard,
            name=where.stem,
        )
        _fill(image, tissue, shard, threads or min(4, default_workers()))
        put_in_place(partial, where)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    log.info("%s: simulated %s voxels of %s", where, tissue.shape, tissue.stain)
    return open_image(where)


def read_middle(path: str | Path, channel: int | str = 0) -> NDArray[np.generic]:
    """The middle of an image at its finest level, at most `MIDDLE` voxels; `InputError` if it is thinner than 8."""
    image = open_image(path)
    shape = image.levels[0].shape
    if min(shape) < 8:
        raise InputError(f"{path} has {shape} voxels (z, y, x); give an image of at least 8 voxels along each axis")
    size = vec3(min(n, m) for n, m in zip(shape, MIDDLE, strict=True))
    start = vec3((n - m) // 2 for n, m in zip(shape, size, strict=True))
    return read_box(image, 0, Box.of_shape(size).shift(start), channel=check_channel(image, channel))


def _check(where: Path, scale_um: tuple[float, float, float], overwrite: bool) -> None:
    """Refuse a wrong scale, and a target that must not be replaced."""
    if not all(math.isfinite(s) and s > 0 for s in scale_um):
        raise InputError(f"scale is {scale_um} um per voxel; give positive numbers (--scale)")
    check_new_image(where, overwrite=overwrite)


def _pieces(shape: Vec3, chunk: Vec3 | None, shard: Vec3) -> tuple[Vec3, Vec3]:
    """Chunk and shard of the image; the labels get the same shard."""
    if min(shard) < 1:
        raise InputError(f"shard is {shard}; give sides of 1 voxel or more")
    default, unit = chunk_and_shard(shard, shape)
    if chunk is not None and (min(chunk) < 1 or any(s % c for s, c in zip(unit, chunk, strict=True))):
        raise InputError(f"chunk is {chunk} voxels in shards of {unit}; give sides that divide those of the shard")
    return chunk or default, unit


def _fill(image: ImageInfo, tissue: Tissue, shard: Vec3, threads: int) -> None:
    """Render every shard once, and write image and truth from it."""
    target = plan_labels(image, None, TRUTH, shard=shard)
    check_target(target, overwrite=False, need_bytes=2 * math.prod(tissue.shape))
    create_labels(target, overwrite=False)
    grid = BlockGrid(tissue.shape, target.shard)

    def write(index: Vec3) -> int:
        box = grid.core(index)
        voxels, labels = render(tissue, box)
        write_image_box(image, box, voxels)
        write_label_box(target, 0, box, labels)
        return int(labels.max())

    largest = 0
    with ThreadPoolExecutor(threads) as pool:
        try:
            for n, found in enumerate(pool.map(write, grid), start=1):
                largest = max(largest, found)
                log.debug("%s: %d of %d shards written", image.path, n, len(grid))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    provenance = {"version": __version__, "command": "simulate", "tissue": asdict(tissue), "largest_id": largest}
    finish_labels(target, attributes={"bigcp3d": provenance})
