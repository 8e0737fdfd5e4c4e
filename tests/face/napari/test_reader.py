"""The plugin's reader: a store opened in napari, placed in micrometres, and lazily."""

import warnings

import numpy as np
import pytest
import zarr

from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.edge.labels.label_plan import plan_labels
from bigcp3d.edge.labels.labels import create_labels, finish_labels, write_label_part
from bigcp3d.pure.boxes import Box
from tests.face.balls import PLACE, SCALE, ball_maps, make_store, voxels

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("napari", reason="napari is not installed")
    from napari.components import ViewerModel
    from npe2 import PluginManifest

    from bigcp3d.face.napari.reader import get_reader

MAPS = ["cells: foreground", "cells: flow z", "cells: flow y", "cells: flow x"]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("napari"), "0.5")


def opened(path):
    viewer = ViewerModel()
    for data, shown, kind in get_reader(str(path))(str(path)):
        getattr(viewer, f"add_{kind}")(data, **shown)
    return viewer


def test_the_manifest_is_valid_and_names_what_can_be_imported():
    manifest = PluginManifest.from_distribution("bigcp3d")
    manifest.validate_imports()
    assert {reader.command for reader in manifest.contributions.readers} == {"bigcp3d.read"}


def test_a_store_opens_with_channels_labels_scales_places_and_units(store):
    viewer = opened(store)
    assert [layer.name for layer in viewer.layers] == ["channel 0", "channel 1", "cells", *MAPS]
    for layer in viewer.layers:
        assert tuple(layer.scale) == SCALE
        assert tuple(layer.translate) == PLACE
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
        assert layer.axis_labels == ("z", "y", "x")
    for channel in range(2):
        assert np.array_equal(viewer.layers[channel].data[0], voxels(channel))
    assert np.array_equal(np.asarray(viewer.layers["cells"].data[0]) > 0, ball_maps()[0] > 0)


def test_maps_of_labels_are_hidden_layers_over_the_image(store):
    viewer = opened(store)
    maps = viewer.layers[3:]
    assert [layer.name for layer in maps] == MAPS
    assert np.array_equal([layer.data for layer in maps], ball_maps())
    assert not any(layer.visible for layer in maps)
    assert all(np.allclose(layer.extent.world, viewer.layers[0].extent.world) for layer in maps)
    assert not any("bigcp3d" in layer.metadata for layer in maps), "they are no image of a store"


def test_what_is_no_ome_zarr_is_left_to_others(tmp_path):
    zarr.create_array(tmp_path / "bare.zarr", data=np.zeros((2, 2), "u1"))
    assert get_reader(str(tmp_path / "bare.zarr")) is None
    assert get_reader(str(tmp_path)) is None
    assert get_reader([str(tmp_path)]) is None


def test_a_store_of_a_thousand_million_voxels_opens_without_being_read(tmp_path, monkeypatch):
    shape, path = (4096, 512, 512), tmp_path / "large.zarr"
    image = create_image(path, shape, "uint16", scale_um=(1.0, 0.5, 0.5), chunk=(64, 64, 64), shard=(64, 64, 64))
    spot = Box((448, 448, 448), (512, 512, 512))
    write_image_box(image, spot, np.full(spot.shape, 7, "u2"))
    target = plan_labels(open_image(path), None, "cells", shard=(64, 64, 64))
    create_labels(target, overwrite=True)
    write_label_part(target, 0, Box((480, 480, 480), (512, 512, 512)), np.full((32, 32, 32), 5, "u4"))
    finish_labels(target, attributes={})
    chunks = {"image": 64 * 8 * 8, "labels": 64 * 8 * 8}
    read = {"image": set(), "labels": set()}
    get = zarr.storage.LocalStore.get

    async def counted(self, key, prototype, byte_range=None):
        name = f"{self.root}/{key}"
        if "/c/" in name:
            read["labels" if "/labels/" in name else "image"].add(name)
        return await get(self, key, prototype, byte_range)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", counted)
    viewer = opened(path)
    assert np.prod(viewer.layers["cells"].data.shape) > 10**9
    viewer.dims.set_point(0, 500.0)
    assert viewer.layers["cells"].get_value((500.0, 250.0, 250.0), world=True) == 5
    assert 0 < len(read["image"]) < chunks["image"] / 2, "a sample for the contrast and a few planes"
    assert 0 < len(read["labels"]) < chunks["labels"] / 4, "a few planes"
