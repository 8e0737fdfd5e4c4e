"""What napari's brush, fill and eraser change in a region is written into the store, its log and its levels."""

import numpy as np
import pytest

import bigcp3d
from bigcp3d.errors import InputError, TargetError
from bigcp3d.pure.boxes import Box
from tests.schedule.edits.conftest import SHAPE, ball_labels

pytestmark = pytest.mark.filterwarnings("ignore")
WHOLE = Box((0, 0, 0), SHAPE)


@pytest.fixture
def corrections(viewer):
    from bigcp3d.face.napari.corrections import Corrections

    return Corrections(viewer, viewer.layers["cells"], WHOLE)


def test_each_tool_of_napari_becomes_a_change_of_its_kind_and_undo_takes_all_back(store, viewer, corrections):
    first, layer = store.levels(), corrections.layer
    layer.contiguous = False
    layer.fill((5, 8, 40), 0)  # the eraser's bucket on cell 5
    layer.fill((14, 14, 34), 4)  # cell 7 becomes a part of cell 4
    layer.brush_size = 5
    layer.paint((2, 40, 4), 60)  # a new cell on background
    layer.paint((10, 30, 12), 0)  # a hole in cell 3
    shown = np.asarray(layer.data).copy()
    changes, painted = corrections.write()
    assert [change.kind for change in changes] == ["delete", "merge", "add", "paint"]
    assert painted.cut == ()
    expected = np.where(shown == 60, 8, shown)
    assert np.array_equal(store.levels()[0], expected)
    assert np.array_equal(layer.data, expected), "the region shows the ids of the store"
    assert np.array_equal(viewer.layers["cells"].data[0], expected), "and so does the large layer"
    store.check()
    assert [change.kind for change in corrections.undo()] == ["paint", "add", "merge", "delete"]
    assert all(np.array_equal(a, b) for a, b in zip(store.levels(), first, strict=True))
    assert np.array_equal(layer.data, ball_labels())


def test_a_region_lies_where_its_voxels_are_and_changes_nothing_else(store, viewer):
    from bigcp3d.face.napari.corrections import Corrections

    region = Box((6, 20, 4), (14, 36, 20))
    open_here = Corrections(viewer, viewer.layers["cells"], region)
    large, part = viewer.layers["cells"], open_here.layer
    assert np.allclose(part.data_to_world((0, 0, 0)), large.data_to_world(region.start))
    assert np.array_equal(part.data, ball_labels()[region.slices()])
    part.data = np.zeros_like(part.data)
    changes, painted = open_here.write()
    assert ([change.kind for change in changes], painted.cut) == (["paint"], (3,))
    expected = ball_labels()
    expected[region.slices()] = 0
    assert np.array_equal(store.levels()[0], expected)
    store.check()
    open_here.close()
    assert part not in viewer.layers
    assert large.opacity == 0.7


def test_corrections_of_somebody_else_are_not_painted_over(store, viewer, corrections):
    bigcp3d.edit(store.path).delete(5)
    corrections.layer.fill((5, 8, 40), 0)
    with pytest.raises(InputError, match="another program has changed"):
        corrections.write()
    assert [change.kind for change in bigcp3d.edit(store.path).log()] == ["delete"]
    with pytest.raises(InputError, match="nothing was written"):
        corrections.undo()


def refuse(*args, **more):
    raise TargetError("somebody else is changing the labels")


def test_a_write_that_is_refused_keeps_what_was_painted(store, viewer, corrections, monkeypatch):
    corrections.layer.fill((5, 8, 40), 0)
    painted = np.asarray(corrections.layer.data).copy()
    with monkeypatch.context() as patch:
        patch.setattr(corrections.edits, "delete", refuse)
        with pytest.raises(TargetError, match="somebody else"):
            corrections.write()
    assert np.array_equal(corrections.layer.data, painted)
    assert corrections.unwritten
    with pytest.raises(InputError, match="nothing was written"):
        corrections.undo()
    assert [change.kind for change in corrections.write()[0]] == ["delete"]
    assert np.array_equal(store.levels()[0], painted)


def test_a_write_that_stops_half_way_goes_on_with_the_rest_and_can_be_taken_back(
    store, viewer, corrections, monkeypatch
):
    first, layer = store.levels()[0], corrections.layer
    layer.contiguous = False
    layer.fill((5, 8, 40), 0)
    layer.fill((14, 14, 34), 4)
    painted = np.asarray(layer.data).copy()
    with monkeypatch.context() as patch:
        patch.setattr(corrections.edits, "merge", refuse)
        with pytest.raises(TargetError):
            corrections.write()
    assert np.array_equal(layer.data, painted)
    assert np.array_equal(corrections.before, np.where(first == 5, 0, first)), "the deletion is in the store"
    assert np.array_equal(viewer.layers["cells"].data[0], corrections.before)
    assert [change.kind for change in corrections.write()[0]] == ["merge"]
    assert np.array_equal(store.levels()[0], painted)
    layer.fill((10, 30, 12), 0)
    corrections.undo()
    corrections.undo()
    assert np.array_equal(store.levels()[0], first)
    assert np.array_equal(layer.data, np.where(first == 3, 0, first)), "what was painted since is kept"


def test_nothing_painted_is_nothing_written(store, viewer, corrections):
    with pytest.raises(InputError, match="nothing in the region was changed"):
        corrections.write()
    assert not bigcp3d.edit(store.path).log()
