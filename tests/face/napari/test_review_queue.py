"""Keys decide about one doubtful cell after the other, and the view goes to each."""

import numpy as np
import pytest

import bigcp3d
from bigcp3d.errors import InputError
from bigcp3d.schedule.edits.review import decisions
from tests.schedule.edits.conftest import write_moving_balls

pytestmark = pytest.mark.filterwarnings("ignore")


def test_keys_decide_about_cells_in_the_order_of_doubt_and_can_be_taken_back(store, viewer):
    from bigcp3d.face.napari.review_queue import ReviewQueue, read_queue

    layer, expected, told = viewer.layers["cells"], bigcp3d.review(store.path), []
    layer.scale, layer.translate = (3.0, 0.5, 0.5), (10.0, 20.0, 30.0)  # as a viewer was told, not as it is stored
    queue = ReviewQueue(viewer, layer, read_queue(layer.metadata["bigcp3d"]), tell=told.append)
    assert queue.queue == expected

    def press(letter):
        next(act for key, act in layer.keymap.items() if str(key) == letter)(layer)

    for number, letter in enumerate("GWKD"):
        entry = queue.entry
        assert entry == expected[number]
        assert layer.selected_label == entry.id
        assert np.allclose(viewer.camera.center, layer.data_to_world(entry.voxel))
        assert np.allclose(viewer.dims.point, layer.data_to_world(entry.voxel))
        assert told[-1] == queue.text
        press(letter)
    assert len(told) == 5
    changes = bigcp3d.edit(store.path).changes
    made = [(change.given["id"], change.given["decision"]) for change in decisions(changes)]
    words = ["good", "wrong", "skip", "delete"]
    assert made == [(entry.id, word) for entry, word in zip(expected, words, strict=False)]
    press("U")
    press("U")
    assert queue.entry == expected[2]
    assert len(decisions(changes)) == 2
    queue.close()
    assert not layer.keymap


def test_decisions_are_about_the_time_point_of_the_queue(tmp_path):
    from napari.components import ViewerModel

    from bigcp3d.face.napari.reader import read_store
    from bigcp3d.face.napari.review_queue import ReviewQueue, read_queue

    write_moving_balls(tmp_path / "moving.zarr")
    viewer = ViewerModel()
    for data, shown, kind in read_store(str(tmp_path / "moving.zarr")):
        getattr(viewer, f"add_{kind}")(data, **shown)
    layer = viewer.layers["cells"]
    viewer.dims.set_point(0, 0)  # the user went on while the queue was read
    queue = ReviewQueue(viewer, layer, read_queue(layer.metadata["bigcp3d"], time=1), time=1)
    assert viewer.dims.point[0] == 1
    viewer.dims.set_point(0, 0)
    queue.decide("good")
    assert viewer.dims.point[0] == 1
    assert [change.time for change in decisions(bigcp3d.edit(tmp_path / "moving.zarr").changes)] == [1]


def test_the_command_that_trains_on_decisions_names_the_labels_and_their_model(store, monkeypatch):
    from bigcp3d.face.napari import review_queue

    command = review_queue.training_command(f"{store.path}/labels/cells")
    assert command == f"bigcp3d train --from-edits {store.path}::cells --output cells.safetensors"
    made = type("Made", (), {"model": "nuclei"})
    monkeypatch.setattr(review_queue, "read_made", lambda path: made)
    assert "::cells --start nuclei --output" in review_queue.training_command(f"{store.path}/labels/cells")


def test_the_end_and_an_undo_of_nothing_are_told(store, viewer):
    from bigcp3d.face.napari.review_queue import ReviewQueue, read_queue

    layer = viewer.layers["cells"]
    queue = ReviewQueue(viewer, layer, read_queue(layer.metadata["bigcp3d"], sample=True, most=1))
    with pytest.raises(InputError, match="no decision was made"):
        queue.undo()
    queue.decide("good")
    assert queue.text.startswith("the queue is at its end; ")
    assert viewer.status == queue.text
    queue.decide("good")
    assert len(bigcp3d.edit(store.path).log()) == 1
    edits = bigcp3d.edit(store.path)
    edits.delete(3)
    queue.undo()
    assert [change.kind for change in edits.changes.active()] == ["delete"]  # which stays
    assert queue.entry is not None
