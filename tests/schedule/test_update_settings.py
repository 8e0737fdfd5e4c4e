"""An update takes the settings of the labels that it changes, and says which ones differ."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

import bigcp3d
from bigcp3d.edge.image.new_image import create_image
from bigcp3d.edge.labels.edit_log import EditLog
from bigcp3d.errors import InputError, ModelError
from bigcp3d.schedule import estimate
from bigcp3d.schedule.running.events import Estimated, Noted
from bigcp3d.work.analyse.estimate_diameter import Estimate
from tests.schedule.conftest import read_labels, save_random_model, tissue_values, write_image

SHAPE = (20, 40, 40)
ROI = "2:18,4:36,4:36"
RUN = {"block": (30, 22, 45), "executor": "serial"}  # two blocks, also on finer grids


def with_defaults(settings):
    """Settings with a model, a small smallest cell, and the image as it is."""
    size = {} if {"diameter_um", "diameter_vox"} & set(settings) else {"diameter_um": "as-is"}
    return {"model": "model.safetensors", "min_volume": 2, **size, **settings, **RUN}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An image of two channels and two levels, a mask, and two models of one channel."""
    folder = tmp_path_factory.mktemp("image")
    values = np.stack([tissue_values(SHAPE), tissue_values(SHAPE, seed=9)])
    create_image(folder / "image.zarr", SHAPE, "uint16", scale_um=(1.0, 0.5, 0.5), channels=2, chunk=SHAPE, shard=SHAPE)
    group = zarr.open_group(folder / "image.zarr", mode="r+")
    ome, data = group.attrs["ome"], values[:, ::2, ::2, ::2]
    group["0"][...] = values
    group.create_array("1", data=data, chunks=data.shape, dimension_names=("c", "z", "y", "x"))
    coarse = {"path": "1", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 2.0, 1.0, 1.0]}]}
    ome["multiscales"][0]["datasets"].append(coarse)
    group.attrs["ome"] = ome
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, 10:30] = 1
    write_image(folder / "mask.zarr", mask, scale_um=(1.0, 0.5, 0.5))
    save_random_model(folder / "model.safetensors")
    save_random_model(folder / "other.safetensors", seed=11)
    return folder


@pytest.fixture
def inside(folder, tmp_path, monkeypatch):
    """A copy of it, which is the current folder."""
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


CASES = {
    "model, threshold and channel": (
        {"model": "other.safetensors", "foreground": 0.4, "channel": (1,)},
        {"model": "model.safetensors", "channel": 0},
    ),
    "diameter and scale": ({"diameter_um": 3.3, "scale_um": (0.9, 0.7, 0.7)}, {"diameter_um": 2.5}),
    "diameter in voxels, radius, closing and filters": (
        {"diameter_vox": 6.7, "radius_vox": 1.7, "closing_vox": 1, "max_elongation": 6.0, "max_flow_error": 3.0}
        | {"min_foreground": 0.0},
        {"closing_vox": 4, "diameter_um": 2.5},
    ),
    "level and mask": ({"level": 1, "mask": "mask.zarr", "min_volume": 3.5}, {"level": 0, "min_volume": 30}),
}


@pytest.mark.parametrize("name", CASES)
def test_without_settings_no_cell_changes(inside, name):
    settings, others = CASES[name]
    bigcp3d.segment("image.zarr", keep_maps=True, **with_defaults(settings))
    before = read_labels("image.zarr", "cells")
    notes = []
    done = bigcp3d.update("image.zarr", roi=ROI, on_event=notes.append, **RUN)
    assert done.came == done.kept == done.same > 2
    assert done.gone == 0
    assert np.array_equal(read_labels("image.zarr", "cells"), before)
    assert not [note for note in notes if isinstance(note, Noted)]
    control = bigcp3d.update("image.zarr", roi=ROI, dry_run=True, on_event=notes.append, **others, **RUN)
    assert control.same < done.same
    assert len([note for note in notes if isinstance(note, Noted)]) == len(others)


def labelled(**more):
    """Labels in the current folder, with a threshold of 0.6, and their attributes."""
    bigcp3d.segment("image.zarr", **with_defaults({"foreground": 0.6, "keep_maps": True, **more}))
    return attributes()


def attributes():
    return zarr.open_group("image.zarr/labels/cells", mode="r").attrs["bigcp3d"]


def edit_attributes(edit):
    group = zarr.open_group("image.zarr/labels/cells", mode="r+")
    said = group.attrs["bigcp3d"]
    edit(said)
    group.attrs["bigcp3d"] = said


def test_the_labels_name_the_model_so_that_another_folder_finds_it(inside, tmp_path, monkeypatch):
    assert labelled()["arguments"]["model"] == str(inside / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    done = bigcp3d.update(inside / "image.zarr", roi=ROI, **RUN)
    assert done.came == done.same > 2


def test_what_differs_is_said_in_a_line_each(inside):
    labelled(diameter_vox=6.7, channel=1)
    notes = []
    more = {"foreground": 0.4, "channel": ("1",), "diameter_um": 2.5, "max_volume": 5000.0, "min_volume": 2}
    bigcp3d.update("image.zarr", roi=ROI, yes=True, on_event=notes.append, **more, **RUN)
    assert sorted(note.message for note in notes if isinstance(note, Noted)) == [
        "diameter 2.5 um (the labels were made with 6.7 voxels)",
        "foreground 0.4 (the labels were made with 0.6)",
        "max_volume 5000.0 (the labels were made without one)",
    ]
    (change,) = EditLog(Path("image.zarr/labels/cells")).changes()
    assert set(change.given["said"]) == {"foreground", "diameter_um", "max_volume"}


def test_the_settings_of_an_earlier_update_do_not_count_and_this_is_said(inside):
    labelled()
    before = read_labels("image.zarr", "cells")
    bigcp3d.update("image.zarr", roi=ROI, yes=True, foreground=0.5, **RUN)
    assert not np.array_equal(read_labels("image.zarr", "cells"), before)
    notes = []
    bigcp3d.update("image.zarr", roi=ROI, yes=True, on_event=notes.append, **RUN)
    assert [note.message for note in notes if isinstance(note, Noted)] == [
        "an earlier update of this region had foreground 0.5, which this update does not use; to use it, give it again"
    ]
    assert np.array_equal(read_labels("image.zarr", "cells") > 0, before > 0)


def test_labels_that_do_not_say_their_settings_need_them_or_they_are_estimated(inside, monkeypatch):
    labelled()
    edit_attributes(lambda said: said.pop("arguments"))
    with pytest.raises(
        InputError, match=r"an earlier bigcp3d made these labels \(.*foreground 0.6.*give --model and --diameter"
    ):
        bigcp3d.update("image.zarr", roi=ROI, **RUN)
    edit_attributes(lambda said: said.clear())
    suited = estimate.Suited("model.safetensors", "it fits", Estimate(2.52, 2.0, 3.0, 31, True, (), None, ()))
    monkeypatch.setattr(estimate, "find_suited", lambda *_, **__: suited)
    events = []
    estimated = bigcp3d.update("image.zarr", roi=ROI, dry_run=True, min_volume=2, on_event=events.append, **RUN)
    assert [event.message for event in events if isinstance(event, Noted)] == [
        "bigcp3d did not make these labels, so settings that you do not give are those of a new run"
    ]
    assert [event.guess.model for event in events if isinstance(event, Estimated)] == ["model.safetensors"]
    said = {"model": "model.safetensors", "diameter_um": 2.52, "min_volume": 2}
    assert bigcp3d.update("image.zarr", roi=ROI, dry_run=True, **said, **RUN) == estimated
    settings = {"model": "model.safetensors", "diameter_vox": 5.0, "foreground": 0.6, "min_volume": 2}
    assert bigcp3d.update("image.zarr", roi=ROI, dry_run=True, **settings, **RUN).came > 2
    edit_attributes(lambda said: said.update(updates=[]))  # as version 0.1.0 did after an update
    events.clear()
    assert bigcp3d.update("image.zarr", roi=ROI, dry_run=True, min_volume=2, on_event=events.append, **RUN) == estimated
    assert "these labels do not say how they were made" in events[0].message


def test_a_model_that_is_gone_or_has_changed_is_told_before_any_work(inside):
    labelled(keep_maps=False)
    (inside / "model.safetensors").rename(inside / "moved.safetensors")
    with pytest.raises(ModelError, match=r"labels were made with the model .*/model.safetensors, which cannot be read"):
        bigcp3d.update("image.zarr", roi=ROI, **RUN)
    shutil.copy("other.safetensors", "model.safetensors")
    with pytest.raises(ModelError, match="whose file has changed since"):
        bigcp3d.update("image.zarr", roi=ROI, **RUN)
    assert not (inside / "image.bigcp3d").exists()
    notes = []
    done = bigcp3d.update("image.zarr", roi=ROI, model="moved.safetensors", on_event=notes.append, **RUN)
    assert done.came == done.same > 2
    assert not [note for note in notes if isinstance(note, Noted)]
    more = {"model": "model.safetensors", "dry_run": True, "on_event": notes.append}
    changed = bigcp3d.update("image.zarr", roi=ROI, **more, **RUN)
    assert changed.same < changed.came
    assert "(the labels were made with another file of that name" in str(notes)


def test_settings_that_mean_something_else_now_are_refused(inside):
    labelled(diameter_um=2.5)
    group = zarr.open_group("image.zarr", mode="r+")
    text = json.dumps(group.attrs["ome"]).replace('"scale": [1.0, 1.0, 0.5, 0.5]', '"scale": [1.0, 1.0, 0.6, 0.6]')
    group.attrs["ome"] = json.loads(text)
    with pytest.raises(InputError, match=r"now mean something else \(.*factors.*the image has changed"):
        bigcp3d.update("image.zarr", roi=ROI, **RUN)


def test_time_points_of_the_labels_and_others_stay_as_they_are(movie_store, random_model, tmp_path):
    movie = tmp_path / "movie.zarr"
    shutil.copytree(movie_store, movie)
    bigcp3d.segment(movie, **with_defaults({"model": random_model, "time": 1}))
    before = read_labels(movie, "cells")
    done = bigcp3d.update(movie, roi=ROI, **RUN)
    assert done.came == done.same > 2
    assert np.array_equal(read_labels(movie, "cells"), before)
    assert not before[0].any()


def test_labels_from_given_maps_are_updated_from_these_maps(inside):
    bigcp3d.segment("image.zarr", name="first", keep_maps=True, **with_defaults({}))
    shutil.move(inside / "image.bigcp3d" / "first" / "t0" / "maps", inside / "maps.zarr")
    maps = zarr.open_array(inside / "maps.zarr", mode="r+")
    maps[...] = np.asarray(maps[...])[:, ::-1]  # other maps than any model here would predict
    settings = {"maps": "maps.zarr", "model": "model.safetensors", "radius_vox": 2.5, "min_volume": 2}
    bigcp3d.segment("image.zarr", **settings, **RUN)
    before = read_labels("image.zarr", "cells")
    done = bigcp3d.update("image.zarr", roi=ROI, **RUN)
    assert done.came == done.same > 2
    assert np.array_equal(read_labels("image.zarr", "cells"), before)
    named = bigcp3d.update("image.zarr", roi=ROI, model="other.safetensors", dry_run=True, **RUN)
    assert named.same < named.came, "a model that the user names predicts"
