"""OME-Zarr 0.6: coordinate systems are read as scale, translation and order of axes, as the specification says."""

import json

import numpy as np
import pytest
import zarr

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.new_image import create_image
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.labels.label_plan import plan_labels
from bigcp3d.edge.labels.labels import create_labels, finish_labels
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box

UM = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
NONE = [{"name": name, "type": "space"} for name in "zyx"]
SCALE = {"type": "scale", "scale": [2.0, 0.5, 0.25]}
SHIFT = {"type": "translation", "translation": [1.0, 2.0, 3.0]}
IDENTITY = {"type": "identity"}
AFFINE = {"type": "affine", "affine": [[1, 0, 0, 0], [0, 1, 0.1, 0], [0, 0, 1, 0]]}


def system(name, axes=UM):
    return {"name": name, "axes": axes}


def step(inner, output="physical", **more):
    """One transformation of a dataset; ``more`` replaces its ends."""
    return {**inner, "input": {"path": "0"}, "output": {"name": output}, **more}


def sequence(*steps):
    return {"type": "sequence", "transformations": list(steps)}


def way(inner, source, target):
    """A transformation between two named systems."""
    return {**inner, "input": {"name": source}, "output": {"name": target}}


def write(stores, steps, systems=None, further=None, version="0.6rc0"):
    """An image of 0.6 whose only dataset has these transformations."""

    def edit(ome):
        multiscale = ome["multiscales"][0]
        del multiscale["axes"]
        multiscale["coordinateSystems"] = systems or [system("physical")]
        multiscale["datasets"][0]["coordinateTransformations"] = steps
        if further:
            multiscale["coordinateTransformations"] = further
        ome["version"] = version

    return stores.image("0.6", edit=edit)


@pytest.mark.parametrize("version", ["0.6rc0", "0.6.dev4", "0.6-dev2", "0.6"])
def test_each_spelling_of_the_version_is_read(stores, version):
    image = open_image(write(stores, [step(SCALE)], version=version))
    assert (image.version, image.levels[0].scale_um) == ("0.6", (2.0, 0.5, 0.25))


@pytest.mark.parametrize(
    ("steps", "scale", "shift"),
    [
        ([step(SCALE)], (2, 0.5, 0.25), (0, 0, 0)),
        ([step(sequence(SCALE, SHIFT))], (2, 0.5, 0.25), (1, 2, 3)),
        ([step(sequence(SHIFT, SCALE))], (2, 0.5, 0.25), (2, 1, 0.75)),
        ([step(sequence(IDENTITY, sequence(SCALE), SHIFT))], (2, 0.5, 0.25), (1, 2, 3)),
        ([step(IDENTITY)], (1, 1, 1), (0, 0, 0)),
        ([step(SCALE, input="0", output="physical")], (2, 0.5, 0.25), (0, 0, 0)),
        ([SCALE, SHIFT], (2, 0.5, 0.25), (1, 2, 3)),
    ],
)
def test_scale_and_translation_of_any_sequence_are_read(stores, steps, scale, shift):
    level = open_image(write(stores, steps)).levels[0]
    assert (level.scale_um, level.translation_um) == (scale, shift)


def test_axes_in_another_order_are_read_by_their_names(stores):
    path = write(stores, [step(sequence({"type": "mapAxis", "mapAxis": [2, 0, 1]}, SCALE, SHIFT))])
    image = open_image(path)  # z is the last axis of the array, y the first
    assert image.axes == ("y", "x", "z")
    assert (image.levels[0].scale_um, image.levels[0].translation_um) == ((2, 0.5, 0.25), (1, 2, 3))
    stored = zarr.open_array(path / "0", mode="r")[...]
    assert image.levels[0].shape == (22, 12, 20)
    np.testing.assert_array_equal(
        read_box(image, 0, Box((0, 1, 2), (3, 9, 8))), stored[1:9, 2:8, 0:3].transpose(2, 0, 1)
    )


@pytest.mark.parametrize("inner", [{**SCALE, "scale": [9.0, 9.0, 9.0]}, AFFINE])
def test_steps_to_further_systems_do_not_change_what_is_read(stores, inner):
    systems = [system("atlas"), system("physical")]
    image = open_image(write(stores, [step(SCALE)], systems, [way(inner, "physical", "atlas")]))
    assert image.levels[0].scale_um == (2.0, 0.5, 0.25)


def test_a_system_with_units_is_read_where_the_first_has_none(stores, caplog):
    systems = [system("pixels", NONE), system("physical")]
    image = open_image(write(stores, [step(IDENTITY, "pixels")], systems, [way(SCALE, "pixels", "physical")]))
    assert image.levels[0].scale_um == (2.0, 0.5, 0.25)
    assert "'pixels' has no units; coordinate system 'physical' is read" in caplog.text


def test_without_a_scale_or_a_unit_the_voxel_size_is_unknown(stores):
    assert open_image(write(stores, [step(IDENTITY)], [system("physical", NONE)])).levels[0].scale_um is None


def test_names_of_axes_are_free(stores, caplog):
    axes = [{**entry, "name": name} for entry, name in zip(UM, ("depth", "j", "i"), strict=True)]
    image = open_image(write(stores, [step(SCALE)], [system("physical", axes)]))
    assert (image.axes, image.levels[0].scale_um) == (("z", "y", "x"), (2.0, 0.5, 0.25))
    assert "called depth, j, i; taken as z, y, x" in caplog.text


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([step(AFFINE)], "type 'affine'; scale, translation, identity, mapAxis and sequences of them can be used"),
        ([step({"type": "rotation", "rotation": [[1]]})], "type 'rotation'"),
        ([step(sequence(SCALE, {"type": "displacements", "path": "field"}))], "type 'displacements'"),
        ([step({"type": "scale", "scale": [1.0, 2.0]})], r"scale is \[1.0, 2.0\] for 3 axes"),
        ([step({"type": "scale", "path": "scale"})], "scale is None for 3 axes"),
        ([step({"type": "scale", "scale": [1.0, 0.0, 1.0]})], "scale is 0.0 on axis y, not a finite number above 0"),
        ([step({"type": "mapAxis", "mapAxis": [0, 0, 1]})], r"mapAxis is \[0, 0, 1\]; correct the metadata"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_name(stores, steps, message):
    with pytest.raises(InputError, match=message):
        open_image(write(stores, steps))


def image_06(path, **more):
    return create_image(
        path,
        (16, 32, 32),
        "uint16",
        scale_um=(2.0, 0.5, 0.5),
        version="0.6",
        chunk=(8, 16, 16),
        shard=(8, 32, 32),
        **more,
    )


def label(path, output=None):
    """Empty labels, as a run writes them."""
    target = plan_labels(open_image(path), output, "cells", shard=(8, 32, 32))
    create_labels(target, overwrite=False)
    finish_labels(target, attributes={})


def test_a_store_of_labels_of_a_06_image_shows_them_at_its_root(tmp_path):
    image_06(tmp_path / "a.zarr", factors=[(1, 2, 2)])
    label(tmp_path / "a.zarr", tmp_path / "b.zarr")
    root, labels = open_image(tmp_path / "b.zarr"), open_labels(tmp_path / "b.zarr", "cells")
    assert (root.version, [level.path for level in root.levels]) == ("0.6", ["labels/cells/0", "labels/cells/1"])
    assert [level.scale_um for level in root.levels] == [level.scale_um for level in labels.levels]
    ome = json.loads((tmp_path / "b.zarr" / "zarr.json").read_text())["attributes"]["ome"]
    step = ome["multiscales"][0]["datasets"][1]["coordinateTransformations"][0]
    assert (step["input"], step["output"]) == ({"path": "labels/cells/1"}, {"name": "physical"})


def test_an_image_of_06_and_its_labels_say_so_once(tmp_path):
    image_06(tmp_path / "a.zarr", factors=[(1, 2, 2)], channels=2)
    label(tmp_path / "a.zarr")
    for name in ("a.zarr", "a.zarr/labels", "a.zarr/labels/cells"):
        ome = json.loads((tmp_path / name / "zarr.json").read_text())["attributes"]["ome"]
        assert ome.pop("version") == "0.6"
        assert '"version": "0.6"' not in json.dumps(ome)
    image, labels = open_image(tmp_path / "a.zarr"), open_labels(tmp_path / "a.zarr", "cells")
    assert [level.scale_um for level in labels.levels] == [level.scale_um for level in image.levels]
    assert [level.translation_um for level in labels.levels] == [level.translation_um for level in image.levels]
    assert image.levels[1].translation_um == (0.0, 0.25, 0.25)


def test_what_is_written_passes_the_validator(tmp_path):
    """Runs with ome-zarr-models 1.8 and later, which need Python 3.12."""
    models = pytest.importorskip("ome_zarr_models.v06")
    image_06(tmp_path / "a.zarr", factors=[(1, 2, 2)])
    label(tmp_path / "a.zarr")
    image = models.Image.from_zarr(zarr.open_group(tmp_path / "a.zarr", mode="r"))
    assert image.labels.label_paths == ["cells"]


def test_a_scene_is_told_with_its_images(stores, tmp_path):
    for name in ("tile_0", "tile_1"):
        stores.image("0.6", name=f"scene.zarr/{name}", edit=lambda ome: None)
    steps = [
        {"input": {"path": name, "name": "physical"}, "output": {"name": "world"}} for name in ("tile_0", "tile_1")
    ]
    scene = zarr.open_group(tmp_path / "scene.zarr", mode="a", zarr_format=3)
    scene.attrs["ome"] = {"version": "0.6rc0", "scene": {"coordinateTransformations": steps}}
    with pytest.raises(
        InputError, match=r"a scene, which .*; give one of them: .*tile_0, .*tile_1. For all of them: --all-images"
    ):
        open_image(tmp_path / "scene.zarr")
