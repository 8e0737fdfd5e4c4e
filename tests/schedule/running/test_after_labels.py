"""A run that is stopped after its labels were listed: what users did to the labels since then stays."""

from __future__ import annotations

import csv
import gc
import json
import shutil
import weakref

import numpy as np
import pytest
import zarr

import bigcp3d
from bigcp3d.edge.workdir.records import write_record
from bigcp3d.errors import TargetError
from bigcp3d.schedule import segment as segment_module
from bigcp3d.schedule.running.events import BlockDone, LabelsReady
from bigcp3d.work.run.run import Run
from bigcp3d.work.run.work_dir import ONCE, WorkDir
from tests.schedule.conftest import SHAPE, read_labels, stopped_at

SETTINGS = {"executor": "serial", "diameter_um": "as-is", "block": SHAPE, "min_volume": 2}


@pytest.fixture
def settings(random_model, tmp_path):
    return {**SETTINGS, "model": random_model, "output": tmp_path / "out.zarr", "work_dir": tmp_path / "work"}


def stop_in(name, monkeypatch, store, settings):
    """Run until a function of the module that runs a segmentation is called."""
    stopped_at(monkeypatch, segment_module, name, lambda: bigcp3d.segment(store, **settings))


@pytest.mark.parametrize("keep_maps", [False, True])
def test_a_run_that_was_stopped_at_its_table_is_ended_and_corrections_stay(
    tissue_store, settings, tmp_path, monkeypatch, keep_maps
):
    settings |= {"table": tmp_path / "cells.csv", "keep_maps": keep_maps}
    stop_in("measure_run", monkeypatch, tissue_store, settings)
    edits = bigcp3d.edit(settings["output"])
    edits.delete(1)
    attributes = zarr.open_group(settings["output"] / "labels/cells", mode="a").attrs
    attributes["bigcp3d"] = {**attributes["bigcp3d"], "noted": "x"}  # as another program does
    corrected, events = read_labels(settings["output"], "cells"), []
    summary = bigcp3d.segment(tissue_store, **settings, on_event=events.append)
    assert not [event for event in events if isinstance(event, BlockDone)]
    assert [event.summary.table for event in events if isinstance(event, LabelsReady)] == [str(tmp_path / "cells.csv")]
    assert np.array_equal(read_labels(settings["output"], "cells"), corrected)
    assert not (corrected == 1).any()
    rows = list(csv.DictReader((tmp_path / "cells.csv").read_text().splitlines()))
    assert [int(row["label"]) for row in rows] == np.unique(corrected[corrected > 0]).tolist()
    assert "foreground" in rows[0]
    assert summary.cells == len(rows) + 1, "the summary tells what the run has found"
    made = zarr.open_group(settings["output"] / "labels/cells", mode="r").attrs["bigcp3d"]
    assert made["noted"] == "x"
    assert (settings["work_dir"] / "kept").exists() == keep_maps


def test_maps_that_a_run_did_not_keep_are_not_called_kept(tissue_store, settings, monkeypatch):
    stop_in("clean_up", monkeypatch, tissue_store, settings)
    shutil.rmtree(WorkDir(settings["work_dir"]).array("maps", 0))  # as the removal was stopped halfway
    bigcp3d.segment(tissue_store, **settings, keep_maps=True)
    assert not settings["work_dir"].exists()


def test_a_stopped_run_has_not_ended_where_other_labels_are(tissue_store, settings, tmp_path, monkeypatch):
    stop_in("clean_up", monkeypatch, tissue_store, settings)
    other = {**settings, "work_dir": tmp_path / "other", "min_volume": 100, "overwrite": True}
    bigcp3d.segment(tissue_store, **other)
    labels = read_labels(settings["output"], "cells")
    with pytest.raises(TargetError, match="labels of another run are here"):
        bigcp3d.segment(tissue_store, **settings)
    assert np.array_equal(read_labels(settings["output"], "cells"), labels)


def test_a_run_that_could_not_make_its_labels_does_not_replace_those_of_others(tissue_store, settings, monkeypatch):
    stop_in("create_labels", monkeypatch, tissue_store, settings)
    for folder in ("", "labels", "labels/cells"):
        group = zarr.open_group(settings["output"] / folder, mode="a")
    group.attrs["made"] = "by another tool"
    with pytest.raises(TargetError, match="there are labels of that name already"):
        bigcp3d.segment(tissue_store, **settings)
    shutil.rmtree(settings["output"] / "labels/cells")
    summary = bigcp3d.segment(tissue_store, **settings)
    assert read_labels(settings["output"], "cells").max() == summary.cells


def test_the_lock_of_labels_is_the_same_through_a_link(tissue_store, settings, tmp_path):
    from bigcp3d.schedule.running.lock import hold_locks, locks_of

    (tmp_path / "link.zarr").symlink_to(tissue_store)
    request = {**settings, "output": None}
    locks = locks_of(bigcp3d.plan_segmentation(tissue_store, **request))
    with hold_locks(locks), pytest.raises(TargetError, match="another run"):
        bigcp3d.segment(tmp_path / "link.zarr", **request | {"work_dir": tmp_path / "mine"})


def test_a_run_in_this_process_is_forgotten_with_its_network(tissue_store, settings):
    run = Run(bigcp3d.plan_segmentation(tissue_store, **settings))
    WorkDir.of(run.plan).create_arrays(run.plan)
    assert run.array("maps", 0) is run.array("maps", 0)
    seen = weakref.ref(run)
    del run
    gc.collect()
    assert seen() is None


def test_what_others_write_into_attributes_at_the_same_time_stays(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    from bigcp3d.edge.stores.zarr_write import edit_group

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: edit_group(tmp_path / "labels", 3, {f"name{n}": n}), range(64)))
    attributes = json.loads((tmp_path / "labels/zarr.json").read_text())["attributes"]
    assert sorted(attributes.values()) == list(range(64))


def test_records_of_a_run_say_which_labels_it_made(tissue_store, settings, monkeypatch):
    stop_in("clean_up", monkeypatch, tissue_store, settings)
    work = WorkDir(settings["work_dir"])
    made = zarr.open_group(settings["output"] / "labels/cells", mode="r").attrs["bigcp3d"]["id"]
    assert work.read_once("creating")["id"] == work.read_once("create")["id"] == made
    write_record(work.records(), "create", ONCE, {"dtype": "uint32", "id": "another"})
    bigcp3d.segment(tissue_store, **settings)  # the labels that are there count
    assert not settings["work_dir"].exists()
