"""What ``bigcp3d view`` shows in a browser: every label where it is, in the colour of its id, over its image."""

import numpy as np
import pytest
import zarr

import bigcp3d
from bigcp3d.face.scene import make_scene
from tests.schedule.conftest import read_labels, write_image

pytest.importorskip("neuroglancer", reason="neuroglancer is not installed")
from tests.face.sight import seeing, wrong_voxels

SHAPE = (20, 48, 64)
SIDE = 12
SCALE = (1.5, 0.5, 0.5)
PLANES = (3, 10)


def balls():
    """Maps (4, *SHAPE) of balls on a lattice, and an image of them over a slope that tells all columns apart."""
    at = np.indices(SHAPE) % SIDE - (SIDE - 1) / 2
    inside = (at**2).sum(axis=0) < 25
    z, y, x = np.indices(SHAPE)
    return np.concatenate([inside[None].astype("f4"), -np.tanh(at / 3)]), (z + 2 * y + 2 * x + 20 * inside).astype("u2")


def segmented(folder, version, **more):
    """An image with the labels that ``bigcp3d segment`` finds from given maps; paths of the image and of the maps."""
    maps, voxels = balls()
    write_image(folder / "image.zarr", voxels, scale_um=SCALE, version=version)
    zarr.create_array(folder / "maps.zarr", data=np.rint(127 * maps).astype("i1"))
    settings = {"executor": "serial", "radius_vox": 5.0, "min_volume": 10, "block": (10, 30, 26), **more}
    summary = bigcp3d.segment(folder / "image.zarr", maps=folder / "maps.zarr", **settings)
    assert summary.cells > 20
    return folder / "image.zarr"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_every_label_has_the_colour_of_its_id_and_shifted_labels_do_not(chromium, tmp_path, version):
    store = segmented(tmp_path, version)
    labels = read_labels(store, "cells")
    with seeing(chromium, make_scene(store)) as sight:
        assert not any(sight.errors().values())
        for z in PLANES:
            seen = sight.plane(z, show=["cells"])
            assert wrong_voxels(seen, labels[z]) == 0
            for axis in range(3):
                assert wrong_voxels(seen, np.roll(labels, 1, axis)[z]) > 100, "the control: labels shifted by a voxel"
