"""Other libraries read what ``bigcp3d segment`` wrote: the same ids, the same voxel size as the image's."""

import shutil
import warnings

import numpy as np
import pytest
import zarr

from tests.face.balls import SCALE, ball_maps, make_store


@pytest.fixture(scope="module", params=["0.4", "0.5"])
def store(request, tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("readers"), request.param)


def with_ome_zarr(store):
    """Image, labels and their scales (z, y, x), as ome-zarr-py finds them."""
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    nodes = {node.zarr.basename(): node for node in Reader(parse_url(str(store)))() if node.data}
    scales = [node.metadata["coordinateTransformations"][0][0]["scale"][-3:] for node in nodes.values()]
    assert set(nodes) == {"image.zarr", "cells"}
    return np.asarray(nodes["image.zarr"].data[0]), np.asarray(nodes["cells"].data[0]), scales


def with_ngio(store):
    """The same by ngio."""
    ngio = pytest.importorskip("ngio", reason="ngio is not installed")
    container = ngio.open_ome_zarr_container(str(store))
    assert container.list_labels() == ["cells"]
    image, labels = container.get_image(), container.get_label("cells")
    scales = [(item.pixel_size.z, item.pixel_size.y, item.pixel_size.x) for item in (image, labels)]
    return image.get_as_numpy(), labels.get_as_numpy(), scales


def wrong_voxels(labels):
    """Voxels where a label is beside a ball or a ball without one."""
    return int(((labels > 0) != (ball_maps()[0] > 0)).sum())


@pytest.mark.parametrize("read", [with_ome_zarr, with_ngio])
def test_ids_and_voxel_sizes_are_read_as_written_and_shifted_labels_are_seen(store, read, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image, labels, scales = read(store)
        assert np.array_equal(image, zarr.open_array(store / "0", mode="r")[...])
        assert np.array_equal(labels, zarr.open_array(store / "labels" / "cells" / "0", mode="r")[...])
        assert np.allclose(scales, [SCALE, SCALE])
        assert wrong_voxels(labels) == 0
        shutil.copytree(store, tmp_path / "image.zarr")
        zarr.open_array(tmp_path / "image.zarr" / "labels" / "cells" / "0", mode="r+")[...] = np.roll(labels, 1, 2)
        assert wrong_voxels(read(tmp_path / "image.zarr")[1]) > 1000, "the control: labels shifted by a voxel"
