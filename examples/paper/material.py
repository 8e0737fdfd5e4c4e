"""Training volumes of a fold, written once: isotropic, cells of one diameter, image and ``labels/truth``.

    real volume   -> resampled, image by interpolation, labels by nearest neighbour (`bigcp3d.pure.grid`)
    ovule_shapes  -> resampled, membranes painted around the cells from a fixed seed
    simulation    -> rendered

Exp2 cuts its slices, Exp3 and Exp4 their patches, out of these same voxels. A volume grows under a hidden name and is
moved when it is whole, so that an interrupted run leaves nothing half made.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from splits import Item, Painting, Simulation, Volume

import bigcp3d
from bigcp3d.edge.image.image import ImageInfo, open_image, open_labels
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.labels.label_plan import chunk_and_shard, plan_labels
from bigcp3d.edge.labels.labels import create_labels, finish_labels, write_label_box
from bigcp3d.pure.boxes import BlockGrid, Box
from bigcp3d.pure.grid import Factors, resample, spread_labels, working_shape
from bigcp3d.pure.tissue.looks.paint_membranes import add_background_light, paint_membranes

CLIP = (-0.5, 2.5)
COUNTS = 10_000
"""Of a painted image, per unit of normalised intensity."""
SHARD = (128, 128, 128)


def prepare(item: Item, folder: Path, diameter_vox: float) -> Volume:
    """A training volume on the common grid, made in ``folder`` unless it is there."""
    path = folder / f"{item.name}.zarr"
    if not path.exists():
        if isinstance(item, Simulation):
            bigcp3d.simulate(path, item.tissue)
        else:
            image, labels = _draw(item, diameter_vox)
            write_volume(path, image, labels)
    crumbs = item.crumbs_vox if isinstance(item, Volume) else 0
    diameter = float(np.max(item.tissue.diameter_vox)) if isinstance(item, Simulation) else diameter_vox
    if isinstance(item, Volume):  # so many voxels of the common grid
        scale = open_image(item.path).levels[0].scale_um or (1.0, 1.0, 1.0)
        crumbs = round(crumbs * np.prod(scale) / (item.diameter_um / diameter_vox) ** 3)
    return Volume(item.name, path, diameter, crumbs, item.weight)


def prepare_test(item: Volume | Simulation, folder: Path) -> Volume:
    """A test volume: a real one as it is, a simulation rendered."""
    return item if isinstance(item, Volume) else prepare(item, folder, 0.0)


def read_whole(info: ImageInfo) -> NDArray[Any]:
    """All voxels of the finest level."""
    return read_box(info, 0, Box.of_shape(info.levels[0].shape))


def grid_factors(scale_um: tuple[float, float, float] | None, diameter_um: float, diameter_vox: float) -> Factors:
    """Voxels of an image per voxel of the common grid, along each axis."""
    z, y, x = (diameter_um / s / diameter_vox for s in scale_um or (1.0, 1.0, 1.0))
    return z, y, x


def read_resampled(
    image: ImageInfo | None, labels: ImageInfo, diameter_um: float, diameter_vox: float
) -> tuple[NDArray[np.float32] | None, NDArray[np.uint32]]:
    """Image (where there is one) and labels of a whole volume on the common grid."""
    level = (image or labels).levels[0]
    factors = grid_factors(level.scale_um, diameter_um, diameter_vox)
    whole, target = Box.of_shape(level.shape), Box.of_shape(working_shape(level.shape, factors))
    inverse: Factors = tuple(1 / f for f in factors)  # type: ignore[assignment]
    truth = spread_labels(read_whole(labels).astype(np.uint32), whole, target, inverse, level.shape)
    if image is None:
        return None, truth.astype(np.uint32)
    return resample(read_whole(image).astype(np.float32), whole, target, factors, level.shape), truth.astype(np.uint32)


def _draw(item: Volume | Painting, diameter_vox: float) -> tuple[NDArray[np.uint16], NDArray[np.uint32]]:
    """Image and labels on the common grid."""
    if isinstance(item, Volume):
        image, labels = read_resampled(
            open_image(item.path), open_labels(item.path, "truth"), item.diameter_um, diameter_vox
        )
        assert image is not None
        return np.rint(np.clip(image, 0, 65535)).astype(np.uint16), labels
    _, labels = read_resampled(None, open_labels(item.labels, "truth"), item.diameter_um, diameter_vox)
    rng = np.random.default_rng([2021, item.seed])
    painted = add_background_light(paint_membranes(labels, rng, diameter_vox, CLIP), labels, rng, CLIP)
    return np.rint((painted - CLIP[0]) * COUNTS).astype(np.uint16), labels


def write_volume(path: Path, image: NDArray[np.uint16], labels: NDArray[np.uint32]) -> None:
    """An OME-Zarr image of scale 1 with ``labels/truth``."""
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shape = (image.shape[0], image.shape[1], image.shape[2])
    chunk, shard = chunk_and_shard(SHARD, shape)
    info = create_image(partial, shape, "uint16", scale_um=(1.0, 1.0, 1.0), chunk=chunk, shard=shard, name=path.stem)
    for index in (grid := BlockGrid(shape, shard)):
        box = grid.core(index)
        write_image_box(info, box, image[box.slices()])
    write_labels(partial, info, labels, "truth")
    os.replace(partial, path)


def write_labels(store: Path, image: ImageInfo, labels: NDArray[np.integer], name: str) -> None:
    """Labels of an image, (z, y, x), into a store; those of that name are replaced."""
    target = plan_labels(image, store, name, shard=SHARD)
    create_labels(target, overwrite=True)
    for index in (grid := BlockGrid(target.levels[0].shape, target.shard)):
        box = grid.core(index)
        write_label_box(target, 0, box, labels[box.slices()].astype(np.uint32))
    finish_labels(target, attributes={})
