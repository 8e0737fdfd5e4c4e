"""A preview finds in its region what a run of the whole volume finds there, and predicts each model once."""

import shutil

import numpy as np
import pytest

import bigcp3d
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.predict import run_network as predict
from tests.schedule.conftest import CUT, read_labels

pytestmark = pytest.mark.filterwarnings("ignore")
REGION = Box((4, 22, 6), (30, 58, 40))


def inner_cells(labels):
    """The voxels of each cell that touches no face, in any order."""
    faces = {*np.unique(labels[[0, -1]]), *np.unique(labels[:, [0, -1]]), *np.unique(labels[:, :, [0, -1]])}
    return {(labels == cell).tobytes() for cell in np.unique(labels) if cell not in faces}


def test_cells_of_a_region_are_those_of_the_whole_run_and_maps_are_predicted_once(
    tissue_store, random_model, tmp_path, monkeypatch
):
    from napari.components import ViewerModel

    from bigcp3d.face.napari.preview import Preview, Settings
    from bigcp3d.face.napari.reader import read_store

    store = tmp_path / "image.zarr"
    shutil.copytree(tissue_store, store)
    settings = {**CUT, "model": random_model, "radius_vox": 2.5}
    bigcp3d.segment(store, foreground=0.6, closing_vox=1, **settings)
    bigcp3d.segment(store, foreground=0.4, closing_vox=2, name="other", **settings)
    viewer = ViewerModel()
    for data, shown, kind in read_store(str(store)):
        getattr(viewer, f"add_{kind}")(data, **shown)
    calls, real = [], predict.run_network
    monkeypatch.setattr(predict, "run_network", lambda net, patches: (calls.append(1), real(net, patches))[1])
    preview = Preview(viewer.layers[0], viewer.layers["cells"])
    assert preview.start == Settings("as-is", 0.6, 1, random_model), "those of the labels"
    other = preview.find(REGION, Settings("as-is", 0.4, 2, random_model))
    predicted = len(calls)
    cells = preview.find(REGION, preview.start)
    assert 0 < predicted == len(calls), "other settings are tried on the same maps"
    for name, found in {"cells": cells, "other": other}.items():
        whole = read_labels(store, name)[REGION.slices()]
        assert len(inner_cells(found)) > 3
        assert inner_cells(found) == inner_cells(whole), name
    viewer.layers.selection.active = viewer.layers["cells"]
    preview.show(viewer, REGION, cells)
    assert viewer.layers.selection.active is viewer.layers["cells"]
    layer = viewer.layers["preview"]
    assert np.allclose(layer.data_to_world((0, 0, 0)), viewer.layers["cells"].data_to_world(REGION.start))


def test_the_chosen_layer_says_which_image_and_labels_are_previewed(store, viewer, tmp_path):
    from bigcp3d.face.napari.layers import image_layer, labels_layer
    from bigcp3d.face.napari.reader import read_store

    shutil.copytree(store.path, tmp_path / "other.zarr")
    for data, shown, kind in read_store(str(tmp_path / "other.zarr")):
        getattr(viewer, f"add_{kind}")(data, **shown)
    image, cells, other_image, other_cells = viewer.layers
    pairs = {image: (image, cells), cells: (image, cells)}
    pairs |= {other_image: (other_image, other_cells), other_cells: (other_image, other_cells)}
    for chosen, expected in pairs.items():
        viewer.layers.selection.active = chosen
        assert (found := image_layer(viewer)) is expected[0]
        assert labels_layer(viewer, found) is expected[1]
    viewer.layers.selection.clear()
    assert image_layer(viewer) is other_image, "that of the topmost labels"
    other_cells.visible = False
    assert image_layer(viewer) is image
