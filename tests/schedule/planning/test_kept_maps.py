"""Maps that a run kept are found by the next one, if they are those that it would predict; labels are the same."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

import bigcp3d
from bigcp3d.edge.models.model_families import load_network
from bigcp3d.edge.models.model_files import save_model
from bigcp3d.edge.workdir.records import read_records
from bigcp3d.errors import BlockError, InputError, TargetError
from bigcp3d.schedule import segment as segment_module
from bigcp3d.schedule.planning import find_kept_maps
from bigcp3d.work.passes import passes
from bigcp3d.work.run.run import Run
from bigcp3d.work.run.work_dir import WorkDir
from tests.schedule import conftest
from tests.schedule.conftest import put_back, read_labels, stopped_at

CUT = {**conftest.CUT, "block": (34, 30, 51)}


@pytest.fixture
def store(tmp_path, tissue_store) -> Path:
    return shutil.copytree(tissue_store, tmp_path / "image.zarr")


@pytest.fixture(scope="module")
def labelled(tissue_store, random_model, tmp_path_factory) -> tuple[Path, Path]:
    """The tissue with labels, whose run kept its maps: a copy, and its place."""
    place = shutil.copytree(tissue_store, tmp_path_factory.mktemp("labelled") / "folder" / "image.zarr")
    bigcp3d.segment(place, model=random_model, keep_maps=True, **CUT)
    return shutil.copytree(place.parent, place.parent.with_name("copy")) / place.name, place


@pytest.fixture
def kept(labelled) -> Path:
    """Labels with their kept maps, which a test may change."""
    return put_back(*labelled)


@pytest.fixture
def predicted(monkeypatch) -> list:
    """Blocks that are predicted from here on."""
    calls, predict = [], passes.PASSES["predict"]
    monkeypatch.setitem(passes.PASSES, "predict", lambda *task: [calls.append(task[1:]), predict(*task)][1])
    return calls


@pytest.mark.parametrize(
    "later",
    [
        {"foreground": 0.4, "closing_vox": 0, "max_flow_error": 1.0},
        pytest.param({"radius_vox": 4.0, "closing_vox": 4, "min_volume": 30}, marks=pytest.mark.slow),
    ],
)
def test_labels_and_counts_from_kept_maps_are_those_from_the_image(kept, random_model, predicted, later):
    settings = {"model": random_model, **CUT, **later}
    anew = bigcp3d.segment(kept, name="anew", start="image", **{**settings, "block": (99, 99, 99)})
    assert predicted, "the control: from the image all is predicted"
    predicted.clear()
    settings["block"] = (20, 31, 40)
    assert bigcp3d.plan_segmentation(kept, name="cut", **settings).reuses_maps
    summary = bigcp3d.segment(kept, name="cut", **settings)
    assert not predicted
    assert (summary.cells, summary.removed) == (anew.cells, anew.removed)
    assert (summary.foreground_vox, summary.unassigned_vox) == (anew.foreground_vox, anew.unassigned_vox)
    assert np.array_equal(read_labels(kept, "cut"), read_labels(kept, "anew"))
    assert not np.array_equal(read_labels(kept, "cut"), read_labels(kept, "cells")), "the settings matter"


def test_a_run_of_the_same_name_starts_from_the_maps_in_its_own_directory(kept, random_model, predicted):
    settings = {"model": random_model, **CUT}
    work, before = kept.parent / "image.bigcp3d" / "cells", read_labels(kept, "cells")
    maps = {path: path.read_bytes() for path in (work / "t0" / "maps").rglob("*") if path.is_file()}
    with pytest.raises(TargetError, match="overwrite"):
        bigcp3d.segment(kept, foreground=0.3, **settings)
    for foreground in (0.3, 0.5):
        bigcp3d.segment(kept, foreground=foreground, overwrite=True, **settings)
        assert all(path.read_bytes() == content for path, content in maps.items())
        assert [path.name for path in (work / "t0").iterdir()] == ["maps"]
        assert sorted(path.name for path in work.glob("run-*/t0/*")) == ["objects.table", "records"]
        assert np.array_equal(read_labels(kept, "cells"), before) == (foreground == 0.5)
    with pytest.raises(TargetError, match=r"holds kept maps of a finished run .*--overwrite --from image"):
        bigcp3d.segment(kept, prepare="gaussian:1px", overwrite=True, **settings)
    assert all(path.read_bytes() == content for path, content in maps.items())
    assert not predicted
    bigcp3d.segment(kept, start="image", overwrite=True, **settings)
    assert predicted
    assert not work.exists(), "asked to begin from the image, and to keep nothing"


def test_where_maps_lie_is_told_if_they_are_not_kept_where_the_user_asked(kept, random_model, tmp_path, caplog):
    settings, there = {"model": random_model, "keep_maps": True, **CUT}, kept.parent / "image.bigcp3d" / "cells"
    assert bigcp3d.plan_segmentation(kept, overwrite=True, **settings).reuses_maps
    assert not caplog.text, "the control: they lie where the run would keep them"
    assert bigcp3d.plan_segmentation(kept, name="more", work_dir=tmp_path / "mine", **settings).reuses_maps
    assert f"{tmp_path / 'mine'}: no maps are kept here, because those kept in {there} are used" in caplog.text


def test_a_run_that_stops_in_the_directory_of_its_maps_is_carried_on(kept, random_model, predicted, monkeypatch):
    """It is stopped three times."""
    settings, tracked, track = {"model": random_model, **CUT}, [], passes.PASSES["track"]
    bigcp3d.segment(kept, name="whole", foreground=0.3, **settings)
    again = {**settings, "foreground": 0.3, "overwrite": True}

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(passes.PASSES, "track", lambda *task: [tracked.append(task[2]), track(*task)][1])
    for where in ("cluster", "resolve", "label"):
        with monkeypatch.context() as patch:
            patch.setitem(passes.PASSES, where, stop)
            with pytest.raises(KeyboardInterrupt):
                bigcp3d.segment(kept, **again)
        work = kept.parent / "image.bigcp3d" / "cells"
        assert list(read_records(WorkDir(work).records(0), "track"))
        assert not (work / "finished").exists()
    bigcp3d.segment(kept, **again)
    assert len(tracked) == len(set(tracked)) == 2
    assert not predicted
    assert np.array_equal(read_labels(kept, "cells"), read_labels(kept, "whole"))
    assert bigcp3d.plan_segmentation(kept, name="more", **settings).reuses_maps, "the maps are still there"


def test_maps_stay_when_the_unfinished_run_that_began_from_them_is_discarded(kept, random_model, monkeypatch):
    settings, work = {"model": random_model, "overwrite": True, **CUT}, kept.parent / "image.bigcp3d" / "cells"
    stopped_at(monkeypatch, segment_module, "_create_labels", lambda: bigcp3d.segment(kept, foreground=0.3, **settings))
    maps = {path: path.read_bytes() for path in (work / "t0" / "maps").rglob("*") if path.is_file()}
    other = {"prepare": "gaussian:1px", **settings}
    plan = (work / "plan.json").read_bytes()
    for content, said in (
        (plan, "prepare .*discard it and the kept maps there, give --overwrite --from image"),
        (b"{}", "give --overwrite to discard it together with --from image, since kept maps lie there too"),
    ):
        (work / "plan.json").write_bytes(content)
        with pytest.raises(TargetError, match=said):
            bigcp3d.segment(kept, **other)
    (work / "plan.json").write_bytes(plan)
    bigcp3d.segment(kept, foreground=0.4, **settings)
    assert maps
    assert all(path.read_bytes() == content for path, content in maps.items())


def test_maps_of_other_settings_are_not_taken_and_what_differs_is_named(store, random_model, tmp_path, caplog):
    model, other, same = (tmp_path / f"{name}.safetensors" for name in ("model", "other", "same"))
    network, card = load_network(random_model)
    save_model(other, network, card.model_copy(update={"low_percentile": 5.0}))
    for path in (model, same):
        shutil.copy(random_model, path)
    settings = {"model": model, "name": "more", **CUT}
    bigcp3d.segment(store, model=model, keep_maps=True, precision="float32", **CUT)
    for change, message in {
        "model": (
            {"model": str(other)},
            rf"cells: model {model} then, {other} now\n",
        ),
        "diameter": ({"diameter_um": 3.0, "min_volume": 9}, r"cells: diameter as-is then, 3 um now\n"),
        "precision": ({"precision": "bfloat16"}, r"cells: precision float32 then, bfloat16 now\n"),
    }.values():
        wanted = {**settings, "precision": "float32", **change}
        with caplog.at_level(logging.INFO, logger="bigcp3d"):
            assert not bigcp3d.plan_segmentation(store, **wanted).reuses_maps
        assert "not used: " in caplog.text
        with pytest.raises(InputError, match=message):
            bigcp3d.plan_segmentation(store, start="maps", **wanted)
    again = {**settings, "precision": "float32"}
    assert bigcp3d.plan_segmentation(store, **{**again, "model": same}).reuses_maps, "the same model in another place"
    shutil.copy(other, model)
    with pytest.raises(InputError, match="cells: model: the file of random then, another file of random now; predict"):
        bigcp3d.plan_segmentation(store, start="maps", **again)
    shutil.copy(same, model)
    kept = store.parent / "image.bigcp3d" / "cells"
    assert bigcp3d.plan_segmentation(store, maps=kept, **settings).given.maps == str(kept), (
        "--maps takes them all the same"
    )
    shutil.rmtree(kept / "kept")
    with pytest.raises(InputError, match="no kept maps near"):
        bigcp3d.plan_segmentation(store, start="maps", precision="float32", **settings)


def test_maps_of_another_processor_are_not_taken_unless_workers_are_elsewhere(kept, random_model, monkeypatch):
    settings = {"model": random_model, "name": "more", **CUT}
    assert bigcp3d.plan_segmentation(kept, **settings).reuses_maps
    (there,) = zarr.open_group(kept)["labels/cells"].attrs["bigcp3d"]["processors"]
    monkeypatch.setattr(find_kept_maps, "processor_here", lambda: "another, torch 9")
    assert bigcp3d.plan_segmentation(kept, **settings).predicts
    with pytest.raises(TargetError, match=r"does not use \(another kind of processor or another version of torch"):
        bigcp3d.segment(kept, foreground=0.3, overwrite=True, **{**settings, "name": "cells"})
    with pytest.raises(InputError, match=r"processor: .*, torch .* then, another, torch 9 now"):
        bigcp3d.plan_segmentation(kept, start="maps", **settings)
    away = {**settings, "executor": "dask", "scheduler": "tcp://127.0.0.1:1"}
    assert bigcp3d.plan_segmentation(kept, **away).reuses_maps
    maps = kept.parent / "image.bigcp3d" / "cells"
    assert bigcp3d.segment(kept, maps=maps, **settings).processors == [there], "labels name it"


def test_maps_of_an_image_that_has_changed_are_refused_before_anything_is_written(kept, random_model):
    settings = {"model": random_model, **CUT}
    array = zarr.open_array(f"{kept}/0", mode="r+")
    array[3, 4, 5] = array[3, 4, 5] + 1
    maps = kept.parent / "image.bigcp3d" / "cells" / "t0" / "maps" / "zarr.json"
    for more in ({"name": "more"}, {"overwrite": True}):
        with pytest.raises(InputError, match=r"have changed since the maps .*--from image"):
            bigcp3d.segment(kept, foreground=0.4, **more, **settings)
        assert maps.exists()
    assert not (kept.parent / "image.bigcp3d" / "more").exists()
    bigcp3d.segment(kept, name="more", start="image", **settings)


def test_an_unfinished_run_that_predicts_is_carried_on_though_maps_are_kept_elsewhere(store, random_model, monkeypatch):
    settings = {"model": random_model, **CUT}

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(passes.PASSES, "cluster", stop)
        with pytest.raises(KeyboardInterrupt):
            bigcp3d.segment(store, name="first", **settings)
    bigcp3d.segment(store, name="second", keep_maps=True, **settings)
    assert not bigcp3d.plan_segmentation(store, name="first", **settings).reuses_maps
    bigcp3d.segment(store, name="first", **settings)
    assert np.array_equal(read_labels(store, "first"), read_labels(store, "second"))


def test_kept_maps_of_a_time_series_are_found_and_may_be_given(movie_store, random_model, tmp_path, predicted):
    shutil.copytree(movie_store, tmp_path / "movie.zarr")
    store, work = tmp_path / "movie.zarr", tmp_path / "work"
    settings = {"model": random_model, **CUT, "block": (20, 40, 20)}
    bigcp3d.segment(store, keep_maps=True, work_dir=work, **settings)
    predicted.clear()
    bigcp3d.segment(store, name="given", maps=work, work_dir=tmp_path / "given", **settings)
    bigcp3d.segment(store, name="found", start="maps", work_dir=tmp_path / "found", **settings)
    assert not predicted
    cells = read_labels(store, "cells")
    assert cells[0].max() != cells[1].max()
    assert np.array_equal(read_labels(store, "given"), cells)
    assert np.array_equal(read_labels(store, "found"), cells)
    shutil.rmtree(work / "t1" / "maps")
    with pytest.raises(InputError, match=r"t1.maps"):
        bigcp3d.plan_segmentation(store, name="less", maps=work, **settings)


def test_maps_whose_record_is_damaged_are_not_taken(kept, random_model):
    settings = {"model": random_model, **CUT}
    record = kept.parent / "image.bigcp3d" / "cells" / "kept" / "0.0.0.json"
    record.write_bytes(record.read_bytes()[:-9])
    assert bigcp3d.plan_segmentation(kept, name="more", **settings).predicts
    with pytest.raises(InputError, match="its record is damaged"):
        bigcp3d.plan_segmentation(kept, name="more", start="maps", **settings)


def test_a_closing_that_paths_cannot_have_is_refused(store, random_model):
    with pytest.raises(InputError, match="closing is 22; use 0 to 21"):
        bigcp3d.plan_segmentation(store, closing_vox=22, model=random_model, **CUT)


def test_maps_that_another_image_has_replaced_are_not_taken(kept, random_model):
    settings = {"model": random_model, **CUT}
    assert bigcp3d.plan_segmentation(kept, name="new", **settings).given.maps, "the control"
    image = zarr.open_group(kept, mode="r+")["0"]
    image[...] = np.asarray(image[...])[:, ::-1]
    bigcp3d.segment(kept, keep_maps=True, overwrite=True, start="image", **settings)
    bigcp3d.segment(kept, name="new", **settings)
    assert np.array_equal(read_labels(kept, "new"), read_labels(kept, "cells"))


def test_missing_chunks_are_counted_where_maps_were_kept(store, random_model):
    (store / "0" / "c" / "1" / "1" / "1").unlink()
    settings = {"model": random_model, **CUT}
    first = bigcp3d.segment(store, keep_maps=True, **settings)
    again = bigcp3d.segment(store, name="again", start="maps", **settings)
    assert first.missing_chunks == again.missing_chunks == 1
    with pytest.raises(InputError, match="missing_chunks: fill then, fail now"):
        bigcp3d.plan_segmentation(store, name="more", start="maps", missing_chunks="fail", **settings)
    assert bigcp3d.plan_segmentation(store, name="more", missing_chunks="fail", **settings).predicts
    maps = store.parent / "image.bigcp3d" / "cells"
    plan = bigcp3d.plan_segmentation(store, name="more", maps=maps, missing_chunks="fail")
    with pytest.raises(InputError, match="the store has no chunk for voxels"):
        passes.track(Run(plan), 0, (0, 0, 0))


def test_maps_of_a_region_are_not_background_elsewhere(store, random_model, tmp_path):
    bigcp3d.segment(store, keep_maps=True, roi="0:8,0:60,0:8", work_dir=tmp_path / "kept", model=random_model, **CUT)
    again = {**CUT, "maps": tmp_path / "kept", "radius_vox": 2.5}
    bigcp3d.segment(store, name="same", roi="0:8,0:60,0:8", **again)
    assert np.array_equal(read_labels(store, "same"), read_labels(store, "cells"))
    for more in ({}, {"roi": "0:8,0:60,20:40"}, {"roi": "0:8,0:60,0:8", "radius_vox": 4.0}):
        with pytest.raises(InputError, match="hold nothing outside it"):
            bigcp3d.segment(store, name="more", **{**again, **more})


def test_a_shard_of_kept_maps_that_is_gone_is_never_read_as_background(kept, random_model):
    settings = {"model": random_model, **CUT}
    next(path for path in sorted((kept.parent / "image.bigcp3d").rglob("maps/c/0/*/*/*"))).unlink()
    with pytest.raises(BlockError, match="this part of the kept maps is missing; predict again"):
        bigcp3d.segment(kept, name="more", **settings)
