"""napari shows labels over the voxels that they were found in: by its own reader plugin, and by ``bigcp3d view``.

On what ``bigcp3d segment`` wrote, with napari's own layers and transforms, without a window.
"""

import warnings

import numpy as np
import pytest
import zarr

from bigcp3d.face.view.scene import make_scene
from tests.edge.conftest import Stores
from tests.face.balls import SHAPE, ball_maps, make_store, voxels

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("napari", reason="napari is not installed")
    napari_get_reader = pytest.importorskip("napari_ome_zarr._reader", reason="no napari-ome-zarr").napari_get_reader
    from napari.components import ViewerModel

    from bigcp3d.face.view.napari_view import add_layers

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", params=[pytest.param("0.4", marks=pytest.mark.slow), "0.5"])
def store(request, tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("napari"), request.param)


def opened(store):
    """A viewer after the store was dropped onto it, as far as that can be had without a window."""
    viewer = ViewerModel()
    for data, metadata, kind in napari_get_reader(str(store))():
        getattr(viewer, f"add_{kind}")(data, **metadata)
    return viewer


def at_voxels_of(image, layer, count=800):
    """Indices of random voxels of an image layer, and the values that another layer has at their places in space."""
    index = np.random.default_rng(0).integers(0, SHAPE, (count, 3))
    there = [np.rint(layer.world_to_data(image.data_to_world(i))).astype(int) for i in index]
    finest = np.asarray(layer.data[0] if layer.multiscale else layer.data)
    return tuple(index.T), finest[tuple(np.transpose(there))]


def wrong_voxels(viewer, name):
    """Voxels, of 1,600, where a label is beside a ball or a ball without one; over both channels."""
    wrong = 0
    for channel in range(2):
        image = viewer.layers[channel]
        index, seen = at_voxels_of(image, image)
        assert np.array_equal(seen, voxels(channel)[index])
        index, found = at_voxels_of(image, viewer.layers[name])
        wrong += int(((found > 0) != (ball_maps()[0][index] > 0)).sum())
    return wrong


def test_dropped_onto_napari_labels_lie_on_their_cells_and_shifted_labels_do_not(store):
    viewer = opened(store)
    names = [layer.name for layer in viewer.layers]
    assert [type(layer).__name__ for layer in viewer.layers] == ["Image", "Image", "Labels"]
    assert wrong_voxels(viewer, names[2]) == 0
    for layer in viewer.layers:
        assert layer.multiscale
        assert np.allclose(layer.scale, viewer.layers[0].scale)
        assert np.allclose(layer.extent.world, viewer.layers[0].extent.world)
    array = zarr.open_array(store / "labels" / "cells" / "0", mode="r+")
    true = array[...]
    for axis in range(3):
        array[...] = np.roll(true, 1, axis)
        assert wrong_voxels(opened(store), names[2]) > 20, "the control: labels shifted by a voxel"
    array[...] = true


def test_bigcp3d_view_adds_the_same_layers_with_contrast_and_the_chosen_labels(store):
    viewer, scene = ViewerModel(), make_scene(store)
    add_layers(viewer, scene)
    assert [layer.name for layer in viewer.layers] == ["channel 0", "channel 1", "cells"]
    assert wrong_voxels(viewer, "cells") == 0
    for layer, channel in zip(viewer.layers, scene.images[0].channels, strict=False):
        assert tuple(layer.contrast_limits) == (channel.low, channel.high)
    assert [layer.visible for layer in viewer.layers] == [True, True, True]


def test_axes_in_another_order_come_as_t_z_y_x(tmp_path):
    path = Stores(tmp_path).image("0.5", "ctzyx", edit=reverse_axes)
    array, viewer = zarr.open_array(path / "0", mode="r")[...], ViewerModel()
    zarr.create_array(path / "0", data=array.T, chunks=(13, 12, 7, 1, 1), overwrite=True)
    add_layers(viewer, make_scene(path))
    assert [layer.data.shape for layer in viewer.layers] == [(2, 12, 20, 22)] * 3
    for channel, layer in enumerate(viewer.layers):
        assert np.array_equal(layer.data, array[channel])
        assert tuple(layer.scale) == (1.0, 2.0, 0.5, 0.25)


def reverse_axes(ome):
    """Metadata whose axes are in the opposite order."""
    multiscale = ome["multiscales"][0]
    multiscale["axes"].reverse()
    multiscale["datasets"][0]["coordinateTransformations"][0]["scale"].reverse()
