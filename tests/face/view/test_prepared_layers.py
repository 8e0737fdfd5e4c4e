"""The viewer's layer of a prepared image has the voxels that the filters make of the whole level."""

import json

import numpy as np
import pytest
import zarr

from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.image.new_image import create_image
from bigcp3d.errors import InputError
from bigcp3d.face.view.neuroglancer_state import describe_state
from bigcp3d.face.view.prepared_layers import PERCENTILES, with_prepared
from bigcp3d.face.view.scene import make_scene
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.predict.normalise import estimate_range, scale_intensity
from bigcp3d.pure.prepare.prepare_box import prepare_box
from bigcp3d.pure.prepare.steps import Step

SHAPE = (40, 70, 90)


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "image.zarr"
    create_image(path, SHAPE, "uint16", scale_um=(1.0, 0.5, 0.5), chunk=SHAPE, shard=SHAPE)
    zarr.open_group(path, mode="r+")["0"][...] = np.random.default_rng(1).integers(0, 4000, SHAPE, "uint16")
    return path


def test_the_layer_has_the_voxels_of_the_filters(store, tmp_path):
    scene = with_prepared(make_scene(store), "gaussian:1um background:6um")
    served, info = scene.images[1].served, scene.images[1].info
    for key in ["zarr.json", "0/zarr.json", *(f"0/c/0/0/{y}/{x}" for y in (0, 1) for x in (0, 1))]:
        file = tmp_path / "copy.zarr" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(served.read(key, 0, served.size(key)))
    shown = open_image(tmp_path / "copy.zarr")
    assert shown.levels[0].scale_um == (1.0, 0.5, 0.5)
    raw = np.asarray(zarr.open_group(store)["0"])
    values = scale_intensity(raw, *estimate_range([raw], *PERCENTILES), bad=0.0)
    steps = [Step("gaussian", (1.0, 2.0, 2.0)), Step("background", (6.0, 12.0, 12.0))]
    expected = prepare_box(lambda box: values[box.slices()], Box.of_shape(SHAPE), SHAPE, steps)
    assert np.array_equal(np.asarray(zarr.open_group(tmp_path / "copy.zarr")["0"])[0], expected)
    part = served.read("0/c/0/0/0/0", 8, 24)
    assert part == expected[0, 0, 2:6].tobytes()
    for wrong in ("0/c/0/0/2/0", "0/c/1/0/0/0", "1/c/0/0/0/0", "0/c/0/0/0", "../x", "0/c/0/0/-1/0"):
        assert served.size(wrong) is None
    assert info.axes == ("c", "z", "y", "x")


def test_the_layer_is_hidden_at_first_and_named(store):
    scene = with_prepared(make_scene(store), "median:3px")
    state = describe_state(scene, {group.info.path: f"http://x/{i}/" for i, group in enumerate(scene.groups)})
    assert [(layer["name"], layer["visible"]) for layer in state["layers"]] == [
        ("image", True),
        ("image, median:3px", False),
    ]
    assert state["layers"][1]["source"] == "http://x/1/|zarr3:"
    json.dumps(state)


@pytest.mark.parametrize("text", ["none", "sharpen:3", "gaussian"])
def test_what_is_no_filter_is_refused(store, text):
    with pytest.raises(InputError, match=r"--prepare|there is no filter|has no size"):
        with_prepared(make_scene(store), text)


@pytest.mark.filterwarnings("ignore")
def test_napari_shows_the_same_voxels(store):
    pytest.importorskip("napari", reason="napari is not installed")
    from bigcp3d.face.view.napari_view import layers_of

    scene = with_prepared(make_scene(store), "gaussian:1um")
    (_, shown, _), (prepared, placed, kind) = layers_of(scene)
    served = scene.images[1].served.read("0/c/0/0/1/1", 0, 4 * 64**3)
    chunk = np.frombuffer(served, "<f4").reshape(64, 64, 64)
    assert np.array_equal(np.asarray(prepared[:, 64:, 64:]), chunk[:40, :6, :26])
    assert (kind, placed["visible"], placed["name"]) == ("image", False, "image, gaussian:1um")
    assert placed["scale"] == shown["scale"]
