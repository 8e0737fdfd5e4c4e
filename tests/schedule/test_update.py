"""A region of labels made again in place: all other cells keep their voxels and ids."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import zarr

import bigcp3d
from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.labels.edit_log import EditLog
from bigcp3d.edge.labels.labels_to_update import open_target
from bigcp3d.edge.labels.made_labels import read_made
from bigcp3d.errors import InputError, TargetError
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.label.pooling import pool_labels
from bigcp3d.pure.label.pooling_box import pool_read_box
from bigcp3d.schedule import update as module
from bigcp3d.work import change_labels
from tests.schedule.conftest import put_back, read_labels, stopped_at, tissue_values, write_image

ROI = "4:30,22:52,8:44"
INSIDE = (slice(4, 30), slice(22, 52), slice(8, 44))
SETTINGS = {"block": (34, 60, 26), "min_volume": 2, "executor": "serial", "diameter_um": "as-is"}


def add_levels(path):
    """Two coarser levels of an image."""
    group = zarr.open_group(path, mode="r+")
    ome, values = group.attrs["ome"], np.asarray(group["0"][...])
    datasets = ome["multiscales"][0]["datasets"]
    for level in (1, 2):
        values = values[::2, ::2, ::2]
        group.create_array(str(level), data=values, chunks=(8, 8, 8), dimension_names=("z", "y", "x"))
        scale = [side * 2**level for side in (1.0, 0.5, 0.5)]
        datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    group.attrs["ome"] = ome


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where a test changes labels."""
    return tmp_path_factory.mktemp("labelled") / "place" / "image.zarr"


@pytest.fixture(scope="module")
def labelled(random_model, place):
    """An image with a pyramid and labels of a random network, with kept maps."""
    write_image(place, tissue_values(), scale_um=(1.0, 0.5, 0.5))
    add_levels(place)
    bigcp3d.segment(place, model=random_model, keep_maps=True, **SETTINGS)
    return shutil.copytree(place.parent, place.parent.with_name("labelled")) / place.name


@pytest.fixture(scope="module")
def updated(labelled, random_model, place):
    """A copy of it that was updated with another threshold, to be read only; and what the update told."""
    told = bigcp3d.update(put_back(labelled, place), roi=ROI, model=random_model, foreground=0.7, **SETTINGS)
    return shutil.copytree(place.parent, place.parent.with_name("updated")) / place.name, told


@pytest.fixture
def store(labelled, place):
    """The labels, in their place."""
    return put_back(labelled, place)


def levels_of(store, name="cells"):
    """All levels of labels."""
    group = zarr.open_group(f"{store}/labels/{name}", mode="r")
    return [np.asarray(group[str(i)][...]) for i in range(3)]


def check_pyramid(store):
    """Every coarser level is that of the level below."""
    target, levels = open_target(open_image(store), None, "cells"), levels_of(store)
    for level in (1, 2):
        box, shape = Box.of_shape(levels[level].shape), levels[level - 1].shape
        factors = target.factors[level]
        assert pool_read_box(box, factors, shape) == Box.of_shape(shape)
        assert np.array_equal(levels[level], pool_labels(levels[level - 1], Box.of_shape(shape), box, factors))


def crossing(labels):
    """Ids of cells that have voxels outside the region."""
    outside = labels.copy()
    outside[INSIDE] = 0
    return np.setdiff1d(np.unique(outside), [0])


def test_the_same_settings_change_nothing(store, random_model):
    before = levels_of(store)
    done = bigcp3d.update(store, roi=ROI, model=random_model, **SETTINGS)
    assert done.came == done.same > 10
    assert done.gone == 0
    for old, new in zip(before, levels_of(store), strict=True):
        assert np.array_equal(old, new)


def test_other_settings_change_the_cells_inside_and_nothing_else(labelled, updated, random_model, tmp_path):
    before, (store, done) = read_labels(labelled, "cells"), updated
    after = read_labels(store, "cells")
    assert done.came > 10
    assert done.stayed > 0
    assert not np.array_equal(before[INSIDE], after[INSIDE])
    for i in crossing(before):
        assert np.array_equal(before == i, after == i)
    # what came are cells of the whole volume, segmented with the new settings
    bigcp3d.segment(store, output=tmp_path / "o.zarr", model=random_model, foreground=0.7, **SETTINGS)
    whole = read_labels(tmp_path / "o.zarr", "cells")
    kept = np.isin(after, crossing(before))
    for i in np.setdiff1d(np.unique(after), np.append(np.unique(before), 0)):
        there = after == i
        mother = np.unique(whole[there])
        assert len(mother) == 1
        assert np.array_equal(there, (whole == mother[0]) & ~kept)
    check_pyramid(store)
    (change,) = EditLog(store / "labels" / "cells").changes()
    assert (change.given["came"], change.given["roi"]) == (done.came, [[4, 30], [22, 52], [8, 44]])
    assert (change.given["said"]["foreground"], change.given["model"]) == (0.7, str(random_model))
    assert "updated 1 time since" in str(read_made(store / "labels" / "cells"))


def test_a_correction_by_hand_may_be_at_a_time_point_that_the_labels_do_not_have(movie_store, random_model, tmp_path):
    """Labels of one time point alone; somebody draws a cell at the other."""
    store = tmp_path / "movie.zarr"
    shutil.copytree(movie_store, store)
    group = zarr.open_group(store, mode="r+")
    coarse = np.asarray(group["0"][...])[:, :, ::2, ::2, ::2]
    group.create_array("1", data=coarse, chunks=(1, 1, 10, 20, 20))
    group.attrs["multiscales"] = [{"version": "0.1", "datasets": [{"path": "0"}, {"path": "1"}]}]
    bigcp3d.segment(store, model=random_model, time="1", **SETTINGS)
    labels = zarr.open_group(store / "labels" / "cells", mode="r+")
    labels["0"][0, 2:12, 4:20, 4:20] = 7
    bigcp3d.update(store, roi="2:12,4:20,4:20", edited=True)
    assert (labels["1"][0, 1:6, 2:10, 2:10] == 7).all()
    assert labels["1"][1].any(), "the other time point has its cells"


def test_what_was_not_annotated_is_segmented_inside_and_stays_outside(store, random_model):
    """Labels of a signed type, with negative ids across the border of the region."""
    group = zarr.open_group(store / "labels" / "cells", mode="r+")
    for level in "012":
        old = group[level]
        values, stored = np.asarray(old[...]).astype("int32"), {"chunks": old.chunks, "shards": old.shards}
        values[:, : 24 >> int(level)] = -1
        group.create_array(level, data=values, overwrite=True, dimension_names=("z", "y", "x"), **stored)
    before = levels_of(store)[0]
    bigcp3d.update(store, roi=ROI, model=random_model, yes=True, **SETTINGS)
    after = levels_of(store)[0]
    outside = np.ones(after.shape, bool)
    outside[INSIDE] = False
    assert (after[INSIDE] >= 0).all()
    assert after[INSIDE][:, :4].any(), "cells stand where nothing was annotated"
    assert np.array_equal(after[outside] < 0, before[outside] < 0)
    check_pyramid(store)


@pytest.mark.parametrize("axes", ["tczyx", "yczx"])
def test_labels_with_other_axes_are_updated_and_corrected_like_those_without(store, random_model, axes):
    """A channel axis of length 1, and z, y, x in any order, as other tools write them."""
    plain, added = levels_of(store), [name for name in axes if name in "tc"]
    names = [*added, *"zyx"]
    order = [names.index(name) for name in axes]
    group = zarr.open_group(store / "labels" / "cells", mode="r+")
    ome = group.attrs["ome"]
    known = {axis["name"]: axis for axis in ome["multiscales"][0]["axes"]}
    known |= {"t": {"name": "t", "type": "time"}, "c": {"name": "c", "type": "channel"}}
    ome["multiscales"][0]["axes"] = [known[name] for name in axes]

    def turned(each, fill):
        each = [*[fill] * len(added), *each]
        return [each[place] for place in order]

    def read():
        back = [level.transpose(np.argsort(order)) for level in levels_of(store)]
        return [level.reshape(before.shape) for level, before in zip(back, plain, strict=True)]

    for level, dataset in enumerate(ome["multiscales"][0]["datasets"]):
        for step in dataset["coordinateTransformations"]:
            step[step["type"]] = turned(step[step["type"]], float(step["type"] == "scale"))
        old = group[str(level)]
        stored = {"chunks": turned(old.chunks, 1), "shards": turned(old.shards, 1), "dimension_names": list(axes)}
        values = plain[level][(None,) * len(added)].transpose(order)
        group.create_array(str(level), data=values, overwrite=True, **stored)
    group.attrs["ome"] = ome
    bigcp3d.update(store, roi=ROI, edited=True)
    assert all(map(np.array_equal, read(), plain))
    bigcp3d.update(store, roi=ROI, model=random_model, yes=True, foreground=0.8, **SETTINGS)
    changed = read()
    assert not np.array_equal(changed[0][INSIDE], plain[0][INSIDE])
    assert bigcp3d.undo_update(store).changed
    assert all(map(np.array_equal, read(), plain))
    cell = int(plain[0].max())
    edits = bigcp3d.edit(store)
    edits.delete(cell)
    assert np.array_equal(read()[0], np.where(plain[0] == cell, 0, plain[0]))
    edits.undo()
    assert all(map(np.array_equal, read(), plain))


def test_ids_that_come_were_never_used(labelled, updated):
    before, after = (read_labels(path, "cells") for path in (labelled, updated[0]))
    new = np.setdiff1d(np.unique(after), np.unique(before))
    assert len(new) > 0
    assert new.min() > before.max()


def test_ids_of_cells_that_have_gone_are_not_given_again(store, random_model):
    before = np.unique(read_labels(store, "cells"))
    last = before.max()
    for smallest in (60, 2):
        bigcp3d.update(store, roi=":,:,:", model=random_model, yes=True, **{**SETTINGS, "min_volume": smallest})
        after = np.unique(read_labels(store, "cells"))
        new = np.setdiff1d(after, before)
        if smallest == 60:
            assert after.max() < last, "the control: the last id has gone"
        else:
            assert new.min() > last
            last = after.max()
        before = after


def test_a_correction_by_hand_reaches_the_coarser_levels(store, random_model):
    group = zarr.open_group(f"{store}/labels/cells", mode="r+")
    painted = np.asarray(group["0"][...])
    painted[10:20, 30:46, 12:30] = 7777
    group["0"][...] = painted
    bigcp3d.update(store, roi=ROI, edited=True, model=random_model, **SETTINGS)
    assert np.array_equal(read_labels(store, "cells"), painted)
    assert 7777 in levels_of(store)[2]
    check_pyramid(store)


@pytest.mark.parametrize("stop_in", ["compare_region", "replace_region", "renew_pyramid"])
def test_an_update_that_was_stopped_is_carried_on(store, updated, random_model, monkeypatch, stop_in):
    arguments = {"roi": ROI, "model": random_model, "foreground": 0.7, **SETTINGS}
    home = change_labels if stop_in == "renew_pyramid" else module
    real = getattr(home, stop_in)

    def stop(*args, **kw):
        if stop_in == "replace_region":  # with some of its voxels written
            target, found, wanted, replacement = args
            real(target, found, Box(wanted.start, (17, 52, 44)), replacement, **kw)
        raise KeyboardInterrupt

    monkeypatch.setattr(home, stop_in, stop)
    with pytest.raises(KeyboardInterrupt):
        bigcp3d.update(store, **arguments)
    monkeypatch.setattr(home, stop_in, real)
    if stop_in == "compare_region":  # once it is decided, nothing but time is lost
        with pytest.raises(TargetError, match=r"foreground: 0.7 then, 0.6 now"):
            bigcp3d.update(store, **{**arguments, "foreground": 0.6})
    bigcp3d.update(store, **arguments)
    for mine, theirs in zip(levels_of(store), levels_of(updated[0]), strict=True):
        assert np.array_equal(mine, theirs)
    assert not (store.parent / "image.bigcp3d" / "cells.update").exists()


def test_labels_that_are_not_there_are_refused(store, random_model):
    with pytest.raises(InputError, match="nothing"):
        bigcp3d.update(store, roi=ROI, name="nothing", model=random_model, **SETTINGS)


def test_a_correction_first_takes_back_an_update_that_was_stopped(store, random_model, monkeypatch):
    arguments, before = {"roi": ROI, "model": random_model, "foreground": 0.7, **SETTINGS}, levels_of(store)
    stopped_at(monkeypatch, change_labels, "renew_pyramid", lambda: bigcp3d.update(store, **arguments))
    bigcp3d.update(store, edited=True, **arguments)
    assert all(np.array_equal(mine, old) for mine, old in zip(levels_of(store), before, strict=True))
    bigcp3d.update(store, **arguments)
    check_pyramid(store)
    bigcp3d.update(store, edited=True, **arguments)


def test_an_unfinished_update_is_not_carried_on_in_labels_that_were_made_since(
    store, random_model, monkeypatch, tmp_path
):
    arguments = {"roi": ROI, "model": random_model, "foreground": 0.7, "yes": True, **SETTINGS}
    stopped_at(monkeypatch, module, "replace_region", lambda: bigcp3d.update(store, **arguments))
    bigcp3d.segment(store, model=random_model, overwrite=True, **{**SETTINGS, "foreground": 0.4})
    shutil.copytree(store, tmp_path / "fresh.zarr")
    bigcp3d.update(store, **arguments)
    bigcp3d.update(tmp_path / "fresh.zarr", **arguments)
    assert np.array_equal(read_labels(store, "cells"), read_labels(tmp_path / "fresh.zarr", "cells"))


def test_an_update_that_was_stopped_while_it_cleaned_up_has_ended(store, random_model, monkeypatch):
    arguments = {"roi": ROI, "model": random_model, "foreground": 0.7, **SETTINGS}
    rmtree = shutil.rmtree

    def stop(path, **more):
        if path.name == "found.zarr":
            rmtree(path / "labels" / "found" / "0" / "c")
            raise KeyboardInterrupt
        rmtree(path, **more)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", stop)
        with pytest.raises(KeyboardInterrupt):
            bigcp3d.update(store, **arguments)
    before = read_labels(store, "cells")
    bigcp3d.update(store, **arguments)
    assert np.array_equal(read_labels(store, "cells"), before)
    assert not (store.parent / "image.bigcp3d" / "cells.update").exists()


@pytest.mark.parametrize("more", [{"labels_level": 1}, {"table": "cells.csv"}])
def test_what_an_update_does_not_do_is_refused(store, random_model, more):
    before = read_labels(store, "cells")
    with pytest.raises(InputError, match="an update takes no labels_level and no table"):
        bigcp3d.update(store, roi=ROI, model=random_model, **more, **SETTINGS)
    assert np.array_equal(read_labels(store, "cells"), before)
