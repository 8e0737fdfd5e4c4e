"""What a viewer is told to show: layers, contrast, colours, and metadata as bigcp3d understands them. No browser."""

import json
import math

import numpy as np
import pytest
import zarr

from bigcp3d.edge.image.image import open_image
from bigcp3d.errors import InputError
from bigcp3d.face.pictures.plane_drawing import PERCENTILES
from bigcp3d.face.view.maps_layers import with_maps
from bigcp3d.face.view.neuroglancer_state import describe_state, only_shown
from bigcp3d.face.view.scene import contrast, make_scene
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work.simulate import simulate
from tests.edge.conftest import Stores
from tests.edge.labels.test_image_and_labels import write_labels


@pytest.fixture
def stores(tmp_path):
    return Stores(tmp_path)


def state_of(scene):
    return describe_state(scene, {group.info.path: f"http://x/{i}/" for i, group in enumerate(scene.groups)})


def test_one_layer_a_channel_and_one_a_labels_group_of_which_one_is_visible(stores):
    image = stores.image("0.5", "tczyx", scale=(2.0, 0.5, 0.25))
    for name in ("a", "b"):
        write_labels(image, name=name)
    state = state_of(make_scene(image))
    layers = {layer["name"]: layer for layer in state["layers"]}
    assert list(layers) == ["channel 0", "channel 1", "channel 2", "a", "b"]
    assert [layer["type"] for layer in state["layers"]] == ["image"] * 3 + ["segmentation"] * 2
    assert [layers[name]["visible"] for name in "ab"] == [False, True]
    assert [layer["localPosition"] for layer in state["layers"][:3]] == [[0], [1], [2]]
    assert len({layer["shader"] for layer in state["layers"][:3]}) == 3  # three colours
    assert list(state["dimensions"]) == ["x", "y", "z", "t"]
    assert np.allclose([scale for scale, _ in state["dimensions"].values()], [0.25e-6, 0.5e-6, 2e-6, 1])
    assert state["position"] == [10.5, 9.5, 5.5, 0]
    assert [layer["visible"] for layer in state_of(make_scene(image, ["a"]))["layers"]] == [True] * 4 + [False]
    json.dumps(state)
    with pytest.raises(InputError, match=r"no labels 'c'; there are: a, b; give one of these"):
        make_scene(image, ["a", "c"])
    for name in ("cells", "d"):
        write_labels(image, name=name)
    shown = {layer["name"]: layer["visible"] for layer in state_of(make_scene(image))["layers"][3:]}
    assert shown == {"a": False, "b": False, "cells": True, "d": False}, "the labels that all commands take"


def test_the_view_begins_where_the_user_says(stores):
    image = stores.image("0.5", "tczyx", scale=(2.0, 0.5, 0.25))
    z, y, x = open_image(image).levels[0].shape
    near = state_of(make_scene(image, at="3, 4.5,6", time=1))
    assert near["position"] == [6, 4.5, 3, 1]
    assert near["crossSectionScale"] <= state_of(make_scene(image))["crossSectionScale"]
    assert state_of(make_scene(image, at="6,2.25,1.5um"))["position"][:3] == [6, 4.5, 3]
    for wrong in ("3,4", "a,b,c", "3:4,5,6"):
        with pytest.raises(InputError, match=r"write Z,Y,X in voxels of level 0"):
            make_scene(image, at=wrong)
    with pytest.raises(InputError, match="lies outside the volume"):
        make_scene(image, at=f"{z},{y - 1},{x - 1}")
    assert make_scene(image, at=f"{z - 1},{y - 1},{x - 1}").at == (z - 1, y - 1, x - 1)
    with pytest.raises(InputError, match="there is no time point 9"):
        make_scene(image, time=9)


def test_contrast_is_that_of_the_data_and_of_one_channel(stores):
    image = stores.image("0.5", "czyx", dtype="float32")
    array = zarr.open_array(image / "0", mode="r+")
    array[1] = array[1] * 10 + 5
    array[2] = 7
    array[0, 0, 0, 0] = np.nan
    info = open_image(image)
    assert np.allclose(contrast(info, 1), np.percentile(array[1], PERCENTILES), rtol=1e-6)
    assert not np.allclose(contrast(info, 0), contrast(info, 1))
    assert contrast(info, 2) == (7, 8)
    assert all(map(math.isfinite, contrast(info, 0)))
    array[2] = np.nan
    assert contrast(info, 2) == (0, 1)


def test_contrast_comes_from_a_coarse_level_and_few_voxels(stores, monkeypatch):
    import bigcp3d.face.view.scene as module

    info, asked = open_image(stores.image(levels=3, shape=(80, 160, 160), chunks=(80, 80, 80))), []
    honest = module.read_box
    monkeypatch.setattr(module, "read_box", lambda *a, **k: [asked.append(a[1]), honest(*a, **k)][1])
    contrast(info, 0)
    assert asked == [1]  # of 80, 80 and 40 voxels a side: level 2 has less than 64 cubed


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64"])
def test_ranges_are_whole_numbers_that_the_dtype_has(stores, dtype):
    image = stores.image(dtype=dtype)
    zarr.open_array(image / "0", mode="r+")[...] = np.iinfo(dtype).max if dtype == "uint8" else 3
    said = state_of(make_scene(image))["layers"][0]["shaderControls"]["contrast"]
    numbers = [*said["window"], *said["range"]]
    assert all(isinstance(number, int) for number in numbers)
    assert said["window"][0] <= said["range"][0] < said["range"][1] <= said["window"][1]
    assert said["window"][0] >= np.iinfo(dtype).min


def test_channels_with_the_name_of_labels_or_of_each_other_get_another(stores):
    def name_them(ome):
        ome["omero"] = {"channels": [{"label": "cells"}, {"label": "dapi"}, {"label": "dapi"}]}

    image = stores.image("0.4", "czyx", edit=name_them)
    write_labels(image)
    names = [layer["name"] for layer in state_of(make_scene(image))["layers"]]
    assert names == ["cells (channel 0)", "dapi", "dapi (channel 2)", "cells"]


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64"])
def test_images_of_a_dtype_that_the_browser_lacks_are_named_and_left_out(stores, dtype, caplog):
    image = stores.image(dtype=dtype)
    with pytest.raises(InputError, match="--napari"):
        only_shown(make_scene(image))
    write_labels(image)
    assert [layer["name"] for layer in state_of(only_shown(make_scene(image)))["layers"]] == ["cells"]
    assert f"its dtype is {dtype}" in caplog.text


@pytest.mark.parametrize(
    ("version", "options"),
    [
        ("0.1", {"axes": "tczyx"}),
        ("0.3", {"axes": "czyx", "levels": 3}),
        ("0.4", {"axes": "czyx", "unit": "nm", "levels": 2}),
        ("0.5", {"scale": None}),
        ("0.5", {"unit": "pixel"}),
    ],
)
def test_metadata_go_out_in_micrometres_and_in_a_version_that_viewers_know(stores, tmp_path, version, options):
    """What is served, written down, is read back as what was understood."""
    image = open_image(stores.image(version, **options))
    (served,) = (images.served for images in make_scene(image.path).images)
    for key in (".zgroup", ".zattrs", "zarr.json"):
        if (size := served.size(key)) is not None and key in served.instead:
            (tmp_path / "image.zarr" / key).write_bytes(served.read(key, 0, size))
    again = open_image(image.path)
    assert again.version == ("0.4" if image.zarr_format == 2 else "0.5")
    assert again.axes == image.axes
    assert again.units == ("micrometer",) * 3
    for factor, level, was in zip((1, 2, 4), again.levels, image.levels, strict=False):
        assert np.allclose(level.scale_um, was.scale_um or (1, factor, factor))
        shift = was.translation_um if was.scale_um else (0, (factor - 1) / 2, (factor - 1) / 2)
        assert np.allclose(level.translation_um, shift)


def test_int64_labels_of_zarr_3_go_out_as_uint64(stores):
    image = stores.image()
    path = write_labels(image)
    zarr.create_array(path / "0", shape=(12, 20, 22), dtype="int64", overwrite=True)
    (served,) = (labels.served for labels in make_scene(image).labels)
    assert json.loads(served.read("0/zarr.json", 0, served.size("0/zarr.json")))["data_type"] == "uint64"


def test_maps_that_are_not_there_are_asked_for_with_the_cure(stores):
    image = stores.image()
    with pytest.raises(InputError, match="maps are shown over an image with labels"):
        with_maps(make_scene(image))
    path = write_labels(image)
    with pytest.raises(InputError, match="'bigcp3d segment' did not write"):
        with_maps(make_scene(image))
    settings = {"factors": [1, 1, 1], "level": 0, "shape": [12, 20, 22], "maps": None}
    zarr.open_group(path, mode="r+").attrs["bigcp3d"] = {"parameters": settings}
    with pytest.raises(InputError, match=r"image\.bigcp3d/cells: there are no maps .*--keep-maps.*--work-dir"):
        with_maps(make_scene(image))
    elsewhere = {**settings, "maps": "s3://of-a-stranger/maps"}
    zarr.open_group(path, mode="r+").attrs["bigcp3d"] = {"parameters": elsewhere}
    with pytest.raises(InputError, match=r"s3://of-a-stranger/maps; bigcp3d opens an address only if you give it: use"):
        with_maps(make_scene(image))


def test_a_scale_that_is_given_is_that_of_image_and_labels(stores):
    image = stores.image("0.4", levels=2)
    write_labels(image)
    for group in make_scene(image, scale_um=(1.0, 0.3, 0.2)).groups:
        scales = [level.scale_um for level in group.info.levels]
        assert np.allclose(scales, [(1, 0.3, 0.2), (1, 0.6, 0.4)])
        assert np.allclose(group.info.levels[1].translation_um, (0, 0.15, 0.1))


@pytest.mark.parametrize("scale", [None, (4.0, 1.0, 1.0)])
def test_labels_without_a_voxel_size_are_drawn_over_their_image(tmp_path, scale):
    """Labels of a coarser level too, and where the user corrects the voxel size."""
    simulate(tmp_path / "a.zarr", Tissue((16, 32, 32), 9.0, seed=1), scale_um=(2.0, 0.5, 0.5))
    group = zarr.open_group(tmp_path / "a.zarr/labels/truth")
    ome = group.attrs.asdict()["ome"]
    for level in ome["multiscales"][0]["datasets"]:
        del level["coordinateTransformations"]
    group.attrs["ome"] = ome
    scene = make_scene(tmp_path / "a.zarr", scale_um=scale)
    image, labels = scene.images[0].info.levels, scene.labels[0].info.levels
    assert [level.scale_um for level in labels] == [level.scale_um for level in image[: len(labels)]]
    assert labels[0].scale_um == (scale or (2.0, 0.5, 0.5))
