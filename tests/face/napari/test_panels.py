"""The panels in a real window: buttons and sliders do what their names say. Skipped without a window system (Qt)."""

import shutil
import time

import numpy as np
import pytest

import bigcp3d

try:
    from qtpy.QtWidgets import QApplication
except Exception as error:  # qtpy raises its own errors, and a missing library of the system is an ImportError
    pytest.skip(f"no Qt: {error}", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def only_window():
    import napari

    viewer = napari.Viewer(show=False)  # one: a second one in a process makes Qt abort it
    yield viewer
    viewer.close()


@pytest.fixture
def window(only_window, store):
    only_window.layers.clear()
    only_window.open(str(store.path), plugin="bigcp3d")
    yield only_window
    only_window.window.remove_dock_widget("all")


def opened(viewer, name):
    return viewer.window.add_plugin_dock_widget("bigcp3d", name)[1]


def wait(panel):
    """Until the panel's work in a thread is done and shown."""
    until = time.monotonic() + 120
    while panel.busy is not None and time.monotonic() < until:
        QApplication.processEvents()
        time.sleep(0.01)


def press(panel, text):
    next(button for button in panel if getattr(button, "text", "") == text).native.click()


def test_a_region_is_opened_painted_written_and_taken_back(store, window):
    panel = opened(window, "Correct cells")
    press(panel, "Write corrections")
    assert panel.said.value == "no region is open; open one first"
    press(panel, "Open the region in view")
    region = window.layers["cells: region"]
    assert region.mode == "pan_zoom"
    region.contiguous = False
    region.fill((5, 8, 40), 0)
    press(panel, "Open the region in view")
    assert "not written" in panel.said.value
    press(panel, "Write corrections")
    assert panel.said.value == "written: delete of 5"
    assert 5 not in np.asarray(window.layers["cells"].data[0])
    press(panel, "Undo the last write")
    assert 5 in store.levels()[0]
    press(panel, "Close the region")
    assert "cells: region" not in window.layers


def test_the_review_follows_its_buttons(store, window):
    panel, expected = opened(window, "Review cells"), bigcp3d.review(store.path)
    press(panel, "Copy the command that trains on this")
    assert "bigcp3d train --from-edits" in panel.said.value
    assert QApplication.clipboard().text() in panel.said.value
    press(panel, "good (G)")
    assert panel.said.value == "start the review first"
    press(panel, "Start the review")
    wait(panel)
    assert panel.said.value.startswith(f"1 of {len(expected)}: cell {expected[0].id}")
    press(panel, "wrong (W)")
    assert panel.said.value.startswith(f"2 of {len(expected)}: cell {expected[1].id}")
    press(panel, "undo (U)")
    assert panel.said.value.startswith("1 of")
    press(panel, "undo (U)")
    window.status = "the mouse moved"
    assert panel.said.value.startswith("no decision was made"), "an error stays until something else is done"


def test_a_preview_is_of_the_labels_that_are_chosen(store, window, tmp_path, monkeypatch):
    shutil.copytree(store.path, tmp_path / "other.zarr")
    window.open(str(tmp_path / "other.zarr"), plugin="bigcp3d")
    panel = opened(window, "Preview settings on a region")
    monkeypatch.setattr(type(panel), "find", lambda self: None)
    for layer, path in ((window.layers[1], store.path), (window.layers[-1], tmp_path / "other.zarr")):
        window.layers.selection.active = layer
        press(panel, "Preview the region in view")
        assert panel.preview.paths == (str(path), f"{path}/labels/cells")


def test_sliders_show_what_would_be_found(tissue_store, random_model, window):
    window.layers.clear()
    window.open(tissue_store, plugin="bigcp3d")
    panel = opened(window, "Preview settings on a region")
    panel.model.choices = (random_model,)
    panel.diameter.value, panel.closing.value = 3.0, 1
    for side, value in zip(panel.region_sides, (16, 16, 16), strict=True):
        side.value = value
    press(panel, "Preview the region in view")
    wait(panel)
    assert "cells in" in panel.said.value
    first = window.layers["preview"].data.copy()
    assert first.any()
    panel.foreground.value = 0.9
    wait(panel)
    assert not np.array_equal(window.layers["preview"].data, first)
    assert "cells in" in panel.said.value
