"""A small image as real ones are, with labels that ``bigcp3d segment`` found, of which the truth is plain: balls."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import zarr

import bigcp3d
from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.pure.boxes import Box

SHAPE = (20, 48, 64)
SIDE = 12
SCALE = (1.5, 0.5, 0.5)
PLACE = (30.0, -4.0, 7.0)
"""Of the first voxel, on the microscope's stage."""
SETTINGS = {"executor": "serial", "radius_vox": 5.0, "min_volume": 0, "block": SHAPE}


def ball_maps() -> np.ndarray:
    """Maps int8 (4, *SHAPE) of balls on a lattice, with flows towards their centres."""
    at = np.indices(SHAPE) % SIDE - (SIDE - 1) / 2
    return np.rint(127 * np.concatenate([((at**2).sum(axis=0) < 25)[None], -np.tanh(at / 3)])).astype("i1")


def voxels(channel: int = 0) -> np.ndarray:
    """An image of the balls over a slope, so that no two neighbouring voxels are equal on any axis."""
    z, y, x = np.indices(SHAPE)
    return (3 * z + 2 * y + x + 60 * (1 + channel) * (ball_maps()[0] > 0)).astype("u2")


def make_store(folder: Path, version: str) -> Path:
    """A two-channel image of two levels away from the origin, with its labels, made from maps."""
    store, maps = folder / "image.zarr", folder / "maps.zarr"
    chunk = (10, 24, 32)
    create_image(store, SHAPE, "uint16", scale_um=SCALE, version=version, chunk=chunk, shard=SHAPE, channels=2)
    for channel in range(2):
        write_image_box(open_image(store), Box.of_shape(SHAPE), voxels(channel), channel=channel)
    _add_level(store)
    zarr.create_array(maps, data=ball_maps(), chunks=(4, 10, 20, 20))
    assert bigcp3d.segment(store, maps=maps, **SETTINGS).cells > 20
    return store


def _add_level(store: Path) -> None:
    """A second level by means of 1 x 2 x 2 voxels, and places for both, as their metadata state them."""
    three = (store / "zarr.json").exists()
    file = store / ("zarr.json" if three else ".zattrs")
    node = json.loads(file.read_text())
    first = np.asarray(zarr.open_array(store / "0", mode="r")[...])
    values = first.reshape(2, SHAPE[0], SHAPE[1] // 2, 2, SHAPE[2] // 2, 2).mean(axis=(3, 5)).astype("u2")
    options = {"zarr_format": 3, "dimension_names": list("czyx")} if three else {"zarr_format": 2}
    keys = {} if three else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    zarr.create_array(store / "1", data=values, chunks=(1, 10, 24, 32), **options, **keys)
    datasets = []
    for level, factor in enumerate((1, 2)):
        scale = [SCALE[0], SCALE[1] * factor, SCALE[2] * factor]
        shift = [p + (s - own) / 2 for p, s, own in zip(PLACE, scale, SCALE, strict=True)]
        steps = [{"type": "scale", "scale": [1.0, *scale]}, {"type": "translation", "translation": [0.0, *shift]}]
        datasets.append({"path": str(level), "coordinateTransformations": steps})
    (node["attributes"]["ome"] if three else node)["multiscales"][0]["datasets"] = datasets
    file.write_text(json.dumps(node))
