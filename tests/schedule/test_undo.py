"""An update is asked for twice where most cells would go, can be tried, and can be taken back whatever stops it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import zarr

import bigcp3d
from bigcp3d.edge.labels.edit_log import EditLog
from bigcp3d.edge.labels.labels_to_update import find_target
from bigcp3d.errors import InputError, LossError, TargetError
from bigcp3d.schedule import update
from bigcp3d.schedule.running.events import PassStarted
from bigcp3d.schedule.update_files import UpdateFiles
from bigcp3d.work import change_labels, update_labels
from tests.schedule.conftest import put_back, stopped_at, tissue_values, write_image

SHAPE = (20, 40, 40)
ROI = "2:18,4:36,4:36"
RUN = {"block": (20, 40, 40), "executor": "serial"}
OTHER = {"roi": ROI, "foreground": 0.62, "yes": True, **RUN}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where a test changes labels."""
    return tmp_path_factory.mktemp("movie") / "place" / "image.zarr"


@pytest.fixture(scope="module")
def labelled(random_model, place):
    """Labels of two time points and two levels, with kept maps. The coarser level was painted by another program."""
    path = place
    values = np.stack([tissue_values(SHAPE), tissue_values(SHAPE)[:, ::-1]])
    group = zarr.create_group(path, zarr_format=3)
    for level, data in (("0", values), ("1", values[:, ::2, ::2, ::2])):
        chunks = (1, 20, 20, 20)
        group.create_array(level, data=data, chunks=chunks, dimension_names=("t", "z", "y", "x"))
    axes = [{"name": "t", "type": "time"}, *({"name": name, "type": "space"} for name in "zyx")]
    scales = [[{"type": "scale", "scale": [1.0, side, side, side]}] for side in (1.0, 2.0)]
    datasets = [{"path": str(i), "coordinateTransformations": scale} for i, scale in enumerate(scales)]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    bigcp3d.segment(path, model=random_model, keep_maps=True, min_volume=2, diameter_um="as-is", **RUN)
    coarse = zarr.open_array(path / "labels" / "cells" / "1", mode="r+")
    coarse[...] = np.asarray(coarse[...]) + 1
    return shutil.copytree(path.parent, path.parent.with_name("labelled")) / path.name


@pytest.fixture(scope="module")
def updated(labelled, place):
    """A copy of it after an update, to be read only."""
    bigcp3d.update(put_back(labelled, place), **OTHER)
    return shutil.copytree(place.parent, place.parent.with_name("updated")) / place.name


@pytest.fixture
def store(labelled, place):
    """The labels, in their place."""
    return put_back(labelled, place)


@pytest.fixture
def done(updated, place):
    """The updated labels, in their place."""
    return put_back(updated, place)


def voxels(store):
    """All levels of the labels."""
    return [np.asarray(zarr.open_array(store / "labels" / "cells" / level, mode="r")[...]) for level in "01"]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def updates(store):
    """Of each update in the log, whether it is undone."""
    log = EditLog(store / "labels" / "cells")
    return [change not in log.active() for change in log.changes() if change.kind == "update"]


def left(store):
    """What is left of updates."""
    return sorted(path.name for path in (store.parent / "image.bigcp3d").iterdir() if path.name != "cells")


def test_an_update_is_undone_at_all_levels_and_time_points(store):
    before = voxels(store)
    done = bigcp3d.update(store, **OTHER)
    assert done.came > done.same
    after = voxels(store)
    assert all(not np.array_equal(a[t], b[t]) for a, b in zip(before, after, strict=True) for t in (0, 1))
    undone = bigcp3d.undo_update(store)
    assert (undone.changed, undone.unfinished, undone.edited) == (True, False, False)
    assert same(voxels(store), before)
    assert updates(store) == [True]
    assert left(store) == []
    with pytest.raises(InputError, match="there is no update to undo"):
        bigcp3d.undo_update(store)


def test_an_update_of_labels_that_another_tool_wrote_is_undone(store, random_model, monkeypatch):
    """Only the log says then that bigcp3d was there."""
    group = zarr.open_group(store / "labels" / "cells")
    attributes = {name: value for name, value in group.attrs.asdict().items() if name != "bigcp3d"}
    group.attrs.put(attributes)
    before = voxels(store)
    bigcp3d.update(store, model=random_model, diameter_um="as-is", min_volume=2, **OTHER)
    assert not same(voxels(store), before)
    monkeypatch.delattr(update_labels, "find_largest_id")  # the log knows it, so labels are not read once more
    changes = EditLog(store / "labels" / "cells").changes()
    assert update_labels.largest_used(find_target(store, None, "cells"), changes) >= voxels(store)[0].max()
    bigcp3d.undo_update(store)
    assert same(voxels(store), before)


def test_an_update_is_undone_though_its_image_is_gone(labelled, done):
    shutil.rmtree(done / "0")
    bigcp3d.undo_update(done)
    assert same(voxels(done), voxels(labelled))


def test_ids_of_an_update_that_was_undone_are_not_given_again(done):
    first = np.unique(voxels(done)[0])
    bigcp3d.undo_update(done)
    old = np.unique(voxels(done)[0])
    bigcp3d.update(done, **OTHER)
    new = np.setdiff1d(np.unique(voxels(done)[0]), old)
    assert len(new) == len(np.setdiff1d(first, old)) > 0
    assert new.min() > first.max()


UNDO_POINTS = {
    "first write": (change_labels, "write_label_part", {}),
    "second write": (change_labels, "write_label_part", {"call": 2}),
    "line": (EditLog, "commit", {"done": True}),
}


@pytest.mark.parametrize("point", UNDO_POINTS)
def test_an_undo_that_was_stopped_is_finished_by_the_next_change(labelled, done, monkeypatch, point):
    before = voxels(labelled)
    place, name, more = UNDO_POINTS[point]
    stopped_at(monkeypatch, place, name, lambda: bigcp3d.undo_update(done), **more)
    assert same(voxels(done), before) == (point == "line"), "the control"
    with pytest.raises(InputError, match="there is no update to undo"):
        bigcp3d.undo_update(done)
    assert same(voxels(done), before)
    assert updates(done) == [True]
    assert left(done) == []


def test_updates_and_corrections_are_undone_in_their_order(labelled, done):
    bigcp3d.update(done, **{**OTHER, "foreground": 0.4})
    between = voxels(done)
    edits = bigcp3d.edit(done)
    edits.delete(int(between[0][0].max()))
    with pytest.raises(InputError, match="the last change is a delete"):
        bigcp3d.undo_update(done)
    assert [change.kind for change in edits.undo(2)] == ["delete", "update"]
    assert bigcp3d.undo_update(done).changed
    assert same(voxels(done), voxels(labelled))
    assert updates(done) == [True, True]


UPDATE_POINTS = {
    "segmentation": (update, "segment", {}),
    "comparison": (update, "compare_region", {"call": 2}),
    "kept": (EditLog, "keep", {"done": True}),
    "begun": (EditLog, "begin", {"done": True}),
    "some voxels": (update_labels, "write_label_box", {"done": True}),
    "voxels": (update, "replace_region", {"call": 2, "done": True}),
    "coarser levels": (change_labels, "renew_pyramid", {"done": True}),
}
"""Before the line in the log; after it, the update counts."""


SLOW = ("segmentation", "begun", "voxels")
"""Points beside others of these, so that CI leaves them out."""


@pytest.mark.parametrize("point", [pytest.param(p, marks=[pytest.mark.slow] * (p in SLOW)) for p in UPDATE_POINTS])
def test_an_update_that_was_stopped_can_be_given_up(labelled, updated, done, monkeypatch, point):
    again = {**OTHER, "foreground": 0.4}
    place, name, more = UPDATE_POINTS[point]
    stopped_at(monkeypatch, place, name, lambda: bigcp3d.update(done, **again), **more)
    if point in ("segmentation", "comparison"):  # once it is decided, nothing but time is lost
        with pytest.raises(TargetError, match=r"foreground: 0.4 then, 0.7 now\); repeat .* or discard it with --undo"):
            bigcp3d.update(done, **{**OTHER, "foreground": 0.7})
    undone = bigcp3d.undo_update(done)
    assert (undone.unfinished, undone.changed) == (True, point not in ("segmentation", "comparison", "kept"))
    assert same(voxels(done), voxels(updated))
    assert updates(done) == [False]
    assert left(done) == []
    bigcp3d.undo_update(done)  # the update before is still known
    assert same(voxels(done), voxels(labelled))


@pytest.mark.parametrize("again", ["undo", "update"])
def test_an_update_that_was_stopped_when_it_counts_is_complete(done, updated, monkeypatch, again):
    settings = {**OTHER, "foreground": 0.4}
    stopped_at(monkeypatch, EditLog, "commit", lambda: bigcp3d.update(done, **settings), done=True)
    lines = len(EditLog(done / "labels/cells").changes())
    after = voxels(done)
    assert not same(after, voxels(updated))
    if again == "update":
        bigcp3d.update(done, **settings)
        assert len(EditLog(done / "labels/cells").changes()) == lines, "it is not done twice"
        assert same(voxels(done), after)
        assert left(done) == []
    undone = bigcp3d.undo_update(done)
    assert (undone.unfinished, undone.changed) == (False, True)
    assert same(voxels(done), voxels(updated))
    assert left(done) == []


def test_a_correction_that_was_stopped_when_it_counts_is_no_complete_update(done, updated, monkeypatch):
    stopped_at(monkeypatch, update, "segment", lambda: bigcp3d.update(done, **{**OTHER, "foreground": 0.4}))
    cell = int(voxels(done)[0][0].max())
    stopped_at(monkeypatch, EditLog, "end", lambda: bigcp3d.edit(done).delete(cell))
    undone = bigcp3d.undo_update(done)
    assert (undone.unfinished, undone.changed) == (True, False)
    assert left(done) == []
    assert not (voxels(done)[0][0] == cell).any(), "the correction stays"


def test_giving_up_that_was_stopped_goes_on_in_either_direction(store, monkeypatch, tmp_path):
    before = voxels(store)
    stopped_at(monkeypatch, change_labels, "renew_pyramid", lambda: bigcp3d.update(store, **OTHER))
    stopped_at(monkeypatch, change_labels, "write_label_part", lambda: bigcp3d.undo_update(store), call=2)
    shutil.copytree(store.parent, tmp_path / "second")
    second = tmp_path / "second" / "image.zarr"
    assert bigcp3d.undo_update(store).unfinished
    assert same(voxels(store), before)
    bigcp3d.update(second, **OTHER)
    bigcp3d.update(store, **OTHER)
    assert same(voxels(second), voxels(store))
    assert len(updates(second)) == 1


def test_an_update_that_was_stopped_while_it_cleaned_up_can_be_undone(store, monkeypatch):
    before = voxels(store)
    stopped_at(monkeypatch, UpdateFiles, "_clear", lambda: bigcp3d.update(store, **OTHER))
    undone = bigcp3d.undo_update(store)
    assert not undone.unfinished or bigcp3d.undo_update(store).changed
    assert same(voxels(store), before)


def replace(store, model):
    """Other labels of the same name."""
    bigcp3d.segment(store, model=model, overwrite=True, start="image", min_volume=2, diameter_um="as-is", **RUN)


def test_labels_that_were_replaced_since_are_not_changed_by_an_undo(done, random_model):
    replace(done, random_model)
    before = voxels(done)
    with pytest.raises(InputError, match="there is no update to undo"):
        bigcp3d.undo_update(done)
    assert same(voxels(done), before)


def test_an_unfinished_update_of_labels_that_were_replaced_since_is_given_up_without_a_change(
    store, random_model, monkeypatch
):
    stopped_at(monkeypatch, change_labels, "renew_pyramid", lambda: bigcp3d.update(store, **OTHER))
    replace(store, random_model)
    before = voxels(store)
    undone = bigcp3d.undo_update(store)
    assert (undone.unfinished, undone.changed) == (True, False)
    assert same(voxels(store), before)
    assert not (store.parent / "image.bigcp3d").exists()


def test_changes_by_hand_since_the_update_are_not_lost_without_a_yes(labelled, done):
    before = voxels(labelled)
    level = zarr.open_array(done / "labels" / "cells" / "0", mode="r+")
    level[0, 0, 0, 0] = 4321  # outside the region
    level[1, 5, 10:12, 10:12] = 4321
    with pytest.raises(LossError, match="another program has changed voxels"):
        bigcp3d.undo_update(done)
    bigcp3d.undo_update(done, yes=True)
    assert voxels(done)[0][0, 0, 0, 0] == 4321, "voxels outside the region stay"
    before[0][0, 0, 0, 0] = 4321
    assert same(voxels(done), before)


def test_an_undo_after_a_correction_by_hand_says_what_it_cannot_know(store):
    level = zarr.open_array(store / "labels" / "cells" / "0", mode="r+")
    level[0, 5:9, 10:16, 10:16] = 4321
    before = voxels(store)
    bigcp3d.update(store, roi=ROI, edited=True, **RUN)
    assert 4321 in voxels(store)[1]
    assert bigcp3d.undo_update(store).edited
    assert same(voxels(store), before)


def test_a_region_that_would_lose_most_cells_needs_a_yes_and_is_not_segmented_twice(store):
    before, events = voxels(store), []
    losing = {"roi": ROI, "min_volume": 400, **RUN}
    with pytest.raises(
        LossError, match=r"of the \d+ cells inside the region would disappear, and \d+ new ones would appear"
    ):
        bigcp3d.update(store, **losing)
    assert same(voxels(store), before)
    assert updates(store) == []
    done = bigcp3d.update(store, yes=True, on_event=events.append, **losing)
    assert done.gone > done.kept
    assert not [event for event in events if isinstance(event, PassStarted)]
    assert not same(voxels(store), before)


def test_a_dry_run_changes_nothing_and_other_settings_may_follow(store):
    before = voxels(store)
    tried = bigcp3d.update(store, dry_run=True, **OTHER)
    assert tried.came > tried.same
    assert same(voxels(store), before)
    assert updates(store) == []
    other = bigcp3d.update(store, **{**OTHER, "foreground": 0.4, "dry_run": True})
    assert (other.came, other.same) != (tried.came, tried.same)
    bigcp3d.update(store, **{**OTHER, "foreground": 0.4})
    bigcp3d.undo_update(store)
    assert same(voxels(store), before)


def test_a_correction_between_a_dry_run_and_the_update_counts(store, tmp_path):
    shutil.copytree(store.parent, tmp_path / "other")
    other = tmp_path / "other" / "image.zarr"
    bigcp3d.update(store, dry_run=True, **OTHER)
    for path in (store, other):
        level = zarr.open_array(path / "labels" / "cells" / "0", mode="r+")
        level[0, 0:6, 4:16, 4:16] = 4321  # a cell that the region's border cuts
    bigcp3d.update(store, **OTHER)
    bigcp3d.update(other, **OTHER)
    assert same(voxels(store), voxels(other))
    assert (voxels(store)[0][0, 2:6, 4:16, 4:16] == 4321).all()


def test_a_dry_run_of_an_unfinished_update_first_takes_back_what_was_stopped(store, monkeypatch):
    before = voxels(store)
    stopped_at(monkeypatch, change_labels, "renew_pyramid", lambda: bigcp3d.update(store, **OTHER))
    assert bigcp3d.update(store, dry_run=True, **OTHER).came > 0
    assert same(voxels(store), before)


def test_labels_in_a_bucket_are_updated_and_brought_back(s3, random_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "image.zarr", tissue_values(SHAPE))
    labels = f"{s3}/out.zarr"
    bigcp3d.segment("image.zarr", output=labels, model=random_model, min_volume=2, diameter_um="as-is", **RUN)

    def read():
        from bigcp3d.edge.image.image import open_labels
        from bigcp3d.edge.image.voxels import read_box
        from bigcp3d.pure.boxes import Box

        return read_box(open_labels(labels, "cells"), 0, Box.of_shape(SHAPE))

    before = read()
    bigcp3d.update("image.zarr", output=labels, **OTHER)
    assert not np.array_equal(read(), before)
    bigcp3d.undo_update("image.zarr", output=labels)
    assert np.array_equal(read(), before)
