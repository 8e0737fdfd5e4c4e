"""``view --meshes``: what the browser reads of the surface of a cell."""

import json
import shutil

import numpy as np
import pytest

import bigcp3d
from bigcp3d.edge.image.new_image import create_image
from bigcp3d.edge.labels.label_plan import plan_labels
from bigcp3d.edge.labels.labels import create_labels, finish_labels, write_label_box
from bigcp3d.errors import InputError
from bigcp3d.face.view import cell_meshes
from bigcp3d.face.view.cell_meshes import with_meshes
from bigcp3d.face.view.neuroglancer_state import describe_state
from bigcp3d.face.view.scene import make_scene
from bigcp3d.pure.boxes import Box
from bigcp3d.work.change_labels import changed_boxes, renew_pyramid

SCALE_UM, SHAPE = (2.0, 0.5, 0.5), (20, 64, 64)
CELL, BOX = 7, Box((4, 10, 30), (12, 30, 62))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path, sides = tmp_path_factory.mktemp("meshes") / "image.zarr", (32, 32, 32)
    image = create_image(path, SHAPE, "uint8", scale_um=SCALE_UM, factors=[(1, 2, 2)], chunk=sides, shard=sides)
    target = plan_labels(image, None, "cells", shard=sides)
    create_labels(target, overwrite=False)
    labels = np.zeros(SHAPE, target.dtype)
    labels[BOX.slices()] = CELL
    write_label_box(target, 0, Box.of_shape(SHAPE), labels)
    renew_pyramid(target, changed_boxes(target, BOX))
    finish_labels(target, attributes={})
    return path


def read(served, key):
    size = served.size(key)
    return None if size is None else served.read(key, 0, size)


@pytest.mark.parametrize("most", [cell_meshes.MOST_VOX, 1000])
def test_the_surface_of_a_cell_lies_where_the_cell_lies(store, monkeypatch, most):
    """Also where the cell is so large that a coarser level is taken."""
    monkeypatch.setattr(cell_meshes, "MOST_VOX", most)
    (labels,) = with_meshes(make_scene(store)).labels
    assert json.loads(read(labels.meshes, "info")) == {"@type": "neuroglancer_legacy_mesh"}
    assert json.loads(read(labels.meshes, f"{CELL}:0")) == {"fragments": [str(CELL)]}
    part = read(labels.meshes, str(CELL))
    count = int(np.frombuffer(part, "<u4", 1)[0])
    xyz = np.frombuffer(part, "<f4", 3 * count, offset=4).reshape(-1, 3)
    triangles = np.frombuffer(part, "<u4", offset=4 + 12 * count)
    assert triangles.max() == count - 1
    nm = 1000 * np.array(SCALE_UM)
    assert np.allclose(xyz.min(axis=0), ((np.array(BOX.start) - 0.5) * nm)[::-1], atol=600)
    assert np.allclose(xyz.max(axis=0), ((np.array(BOX.stop) - 0.5) * nm)[::-1], atol=600)


def test_other_keys_and_cells_have_nothing(store):
    (labels,) = with_meshes(make_scene(store)).labels
    assert [read(labels.meshes, key) for key in ("8", "0", "7:1", "../zarr.json", "7/0", "")] == [None] * 6


def test_after_a_correction_the_surface_is_made_anew(store, tmp_path):
    shutil.copytree(store, tmp_path / "image.zarr")
    (labels,) = with_meshes(make_scene(tmp_path / "image.zarr")).labels
    before = read(labels.meshes, str(CELL))
    edits = bigcp3d.edit(tmp_path / "image.zarr")
    edits.split(CELL, parts=2)
    assert read(labels.meshes, str(CELL)) != before
    edits.delete(CELL)
    assert read(labels.meshes, str(CELL)) is None
    edits.undo(2)
    assert read(labels.meshes, str(CELL)) == before


def test_the_viewer_is_told_where_the_surfaces_are(store):
    scene = with_meshes(make_scene(store))
    urls = {group.info.path: f"http://here/{k}/" for k, group in enumerate(scene.groups)}
    voxels, meshes = describe_state(scene, urls)["layers"][-1]["source"]
    assert voxels.startswith("http://here/1/|zarr")
    assert meshes == "http://here/1-meshes/|neuroglancer-precomputed:"


def test_without_labels_it_is_refused(store, tmp_path):
    create_image(tmp_path / "bare.zarr", (8, 8, 8), "uint8", scale_um=None, chunk=(8, 8, 8), shard=(8, 8, 8))
    with pytest.raises(InputError, match="no labels whose cells could be shown; leave out --meshes"):
        with_meshes(make_scene(tmp_path / "bare.zarr"))
