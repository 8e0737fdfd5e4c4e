"""A sweep finds in its region what `segment --roi` writes there, predicts once, and scores as `evaluate` does."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

import bigcp3d
from bigcp3d.edge.image.image import open_image
from bigcp3d.errors import InputError
from bigcp3d.pure.cells.found import Found
from bigcp3d.pure.cells.plausibility import find_oddities
from bigcp3d.pure.predict import run_network as predict
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.schedule.sweep import plan_sweep
from bigcp3d.work.passes import passes
from bigcp3d.work.simulate import simulate
from tests.object_stores import files_of, forget_connections, serving
from tests.schedule.conftest import CUT, SHAPE, read_labels

ROI = "4:30,22:58,6:40"
BOX = (slice(4, 30), slice(22, 58), slice(6, 40))
VALUES = {"foreground": [0.4, 0.6], "radius_vox": [2.5, 4.0], "min_volume": [2, 60]}


@pytest.fixture
def store(tmp_path, tissue_store) -> Path:
    shutil.copytree(tissue_store, tmp_path / "image.zarr")
    return tmp_path / "image.zarr"


@pytest.mark.parametrize(
    ("values", "more"),
    [
        pytest.param({**VALUES, "foreground": [0.4]}, {}, marks=pytest.mark.slow),
        ({"foreground": [0.4], "min_volume": [2], "max_flow_error": [0.6, 1.5]}, {}),
        (
            {"radius_vox": [2.5], "min_volume": [9], "max_elongation": [2.0, 9.0]},
            {"diameter_um": 3.0},
        ),
        pytest.param({"radius_vox": [4.0], "closing_vox": [0, 1, 4], "min_volume": [2]}, {}, marks=pytest.mark.slow),
    ],
    ids=["volumes", "flow errors", "another grid", "closings"],
)
def test_labels_are_those_of_segment_in_the_region(store, random_model, tmp_path, values, more):
    settings = {"model": random_model, "roi": ROI, "diameter_um": "as-is", **more}
    sweep = plan_sweep(store, values, **settings)
    trials = list(sweep.run(threads=2))
    combinations = [dict(zip(values, one, strict=True)) for one in itertools.product(*values.values())]
    assert sorted(map(str, sweep.settings)) == sorted(map(str, combinations))
    whole, kept = tmp_path / "whole.zarr", tmp_path / "kept" / "work"
    bigcp3d.segment(
        store, output=whole, keep_maps=True, work_dir=kept, model=random_model, **{**CUT, "block": (60, 60, 26), **more}
    )
    seen = set()
    for i, trial in enumerate(trials):
        output = tmp_path / f"{i}.zarr"
        again = {**CUT, **settings, "block": (30, 31, 60), **trial.settings}
        summary = bigcp3d.segment(store, output=output, maps=kept, **again)
        labels = read_labels(output, "cells")
        assert np.array_equal(trial.labels, labels[BOX])
        assert trial.cells == summary.cells == len(trial.volumes) == trial.labels.max()
        assert trial.removed == {name: summary.removed.get(name, 0) for name in trial.removed}
        assert trial.odd == tuple(oddity.kind for oddity in find_oddities(Found(**summary.found[0])))
        assert (trial.foreground_vox, trial.unassigned_vox) == (summary.foreground_vox, summary.unassigned_vox)
        seen.add(trial.labels.tobytes())
    assert len(seen) == len(trials), "the control: every setting matters"
    assert not list(tmp_path.glob("*bigcp3d*")), "nothing is left"


def test_each_diameter_is_predicted_once_and_its_labels_are_those_of_segment(
    store, random_model, tmp_path, monkeypatch
):
    calls, real = [], predict.run_network
    monkeypatch.setattr(predict, "run_network", lambda net, patches: (calls.append(1), real(net, patches))[1])
    values = {"min_volume": [2, 40], "diameter_um": [3.5, 5.0]}
    sweep = plan_sweep(store, values, model=random_model, roi=ROI)
    assert [settings["diameter_um"] for settings in sweep.settings] == [3.5, 3.5, 5.0, 5.0]
    trials = list(sweep.run())
    assert [trial.settings for trial in trials] == list(sweep.settings)
    together = len(calls)
    calls.clear()
    for diameter in values["diameter_um"]:
        list(plan_sweep(store, {"min_volume": [2]}, model=random_model, roi=ROI, diameter_um=diameter).run())
    assert together == len(calls) > 1, "as often as with one trial for each diameter"
    for i, trial in enumerate(trials):
        output = tmp_path / f"{i}.zarr"
        bigcp3d.segment(store, output=output, model=random_model, roi=ROI, executor="serial", **trial.settings)
        assert np.array_equal(trial.labels, read_labels(output, "cells")[BOX])
    assert len({trial.labels.tobytes() for trial in trials}) == len(trials), "the control: every setting matters"


def test_an_image_on_a_web_server_can_be_swept(store, random_model):
    settings = {"model": random_model, "roi": "4:12,30:40,6:16", "diameter_um": "as-is"}
    with serving(files_of(store.parent)) as host:
        remote = plan_sweep(f"{host}/image.zarr", {"foreground": [0.4]}, **settings).run()
        local = plan_sweep(store, {"foreground": [0.4]}, **settings).run()
        assert [trial.labels.tobytes() for trial in remote] == [trial.labels.tobytes() for trial in local]
    forget_connections()


def test_the_truth_may_lie_in_another_store_of_the_same_grid(store, random_model, tmp_path):
    settings = {"model": random_model, "roi": ROI, "diameter_um": "as-is"}
    best = {"foreground": 0.4, "radius_vox": 4.0, "min_volume": 2}
    other = tmp_path / "truth.zarr"
    bigcp3d.segment(store, output=other, name="mine", **{**CUT, "block": SHAPE, **settings, **best})
    for truth, name in ((other, "mine"), (str(other / "labels" / "mine"), "truth")):
        trials = plan_sweep(store, VALUES, truth=truth, truth_name=name, **settings).run()
        assert [trial.settings for trial in trials if trial.scores["ap50"] == 1.0] == [best]
    with pytest.raises(InputError, match="there are no labels 'truth'"):
        plan_sweep(store, VALUES, truth=other, **settings)
    with pytest.raises(InputError, match="for a truth in another store give the path"):
        plan_sweep(store, VALUES, truth=tmp_path / "none.zarr", **settings)
    simulate(tmp_path / "small.zarr", Tissue((8, 16, 16), 8.0, "nuclei"))
    with pytest.raises(InputError, match="compare labels of the same image"):
        plan_sweep(store, VALUES, truth=tmp_path / "small.zarr", **settings)
    simulate(tmp_path / "coarse.zarr", Tissue(SHAPE, 8.0, "nuclei"), scale_um=(1.0, 1.0, 3.0))
    with pytest.raises(InputError, match="or correct the wrong scale"):
        plan_sweep(store, VALUES, truth=tmp_path / "coarse.zarr", **settings)
    told = plan_sweep(store, VALUES, truth=tmp_path / "coarse.zarr", scale_um=(1.0, 1.0, 1.0), **settings)
    assert told.truth is not None, "the user's scale is that of both"


def test_a_region_is_predicted_once_or_not_at_all(store, random_model, tmp_path, monkeypatch):
    calls, real = [], predict.run_network
    monkeypatch.setattr(predict, "run_network", lambda net, patches: (calls.append(1), real(net, patches))[1])
    settings = {"model": random_model, "roi": ROI, "diameter_um": "as-is"}
    values = {"foreground": [0.4, 0.6], "min_volume": [2]}
    before = [trial.labels for trial in plan_sweep(store, values, **settings).run()]
    once = len(calls)
    assert 0 < once <= len(bigcp3d.plan_segmentation(store, **settings).patches.cores)
    bigcp3d.segment(store, keep_maps=True, model=random_model, **{**CUT, "block": SHAPE})
    calls.clear()
    sweep = plan_sweep(store, values, **settings)
    assert sweep.plan.reuses_maps
    after = [trial.labels for trial in sweep.run()]
    assert not calls
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    given = plan_sweep(store, values, maps=store.parent / "image.bigcp3d" / "cells", **settings)
    assert all(np.array_equal(a.labels, b) for a, b in zip(given.run(), before, strict=True))
    assert not calls
    list(plan_sweep(store, values, start="image", **settings).run())
    assert len(calls) == once


def test_whole_objects_are_found_once_for_all_filters(store, random_model, monkeypatch):
    from bigcp3d.schedule import sweep_trial as module

    found, real = [], module.find_objects
    monkeypatch.setattr(module, "find_objects", lambda *given, **more: (found.append(1), real(*given, **more))[1])
    trials = list(
        plan_sweep(
            store, {**VALUES, "min_foreground": [0, 0.7]}, model=random_model, diameter_um="as-is", roi=ROI
        ).run()
    )
    assert (len(trials), len(found)) == (16, 4)


def test_scores_are_those_of_evaluate_and_the_best_is_the_truth_itself(store, random_model, tmp_path):
    best = {"foreground": 0.4, "radius_vox": 4.0, "min_volume": 2}
    bigcp3d.segment(store, name="truth", roi=ROI, model=random_model, keep_maps=True, **{**CUT, "block": SHAPE, **best})
    trials = list(plan_sweep(store, VALUES, truth="truth", model=random_model, diameter_um="as-is", roi=ROI).run())
    for i, trial in enumerate(trials[:1]):
        settings = {**CUT, "block": SHAPE, **trial.settings}
        bigcp3d.segment(store, output=tmp_path / f"{i}.zarr", roi=ROI, model=random_model, **settings)
        scores = bigcp3d.evaluate(tmp_path / f"{i}.zarr", store, pred_name="cells", truth_name="truth")
        assert {name: trial.scores[name] for name in ("mean_dice", "ap50", "true_cells")} == {
            name: scores[name] for name in ("mean_dice", "ap50", "true_cells")
        }
    perfect = [trial.settings for trial in trials if trial.scores["ap50"] == 1.0]
    assert perfect == [best]


def test_what_cannot_be_swept_is_refused_before_anything_is_predicted(store, random_model, movie_store, monkeypatch):
    monkeypatch.setitem(passes.PASSES, "predict", lambda *_: pytest.fail("predicted"))
    model = {"model": random_model, "diameter_um": "as-is"}
    with pytest.raises(InputError, match="cannot try block; give values of some of prepare, diameter_um"):
        plan_sweep(store, {"block": [1]}, **model)
    with pytest.raises(InputError, match="cannot try foreground"):
        plan_sweep(store, {"foreground": []}, **model)
    with pytest.raises(InputError, match=r"foreground is 1\.5"):
        plan_sweep(store, {"foreground": [0.5, 1.5]}, **model)
    with pytest.raises(InputError, match="1200 combinations"):
        plan_sweep(store, {"foreground": np.linspace(0.1, 0.9, 30), "min_volume": range(40)}, **model)
    with pytest.raises(InputError, match="there are no labels 'truth'"):
        plan_sweep(store, VALUES, truth="truth", **model)
    with pytest.raises(InputError, match="one time point, but there are 2"):
        plan_sweep(movie_store, VALUES, time="0:2", **model)
    with pytest.raises(InputError, match="give a smaller --roi"):
        plan_sweep(store, VALUES, memory_limit="100MiB", **model)
    for name, asked in {"mask": store, "labels_level": 1, "on_error": "skip"}.items():
        with pytest.raises(InputError, match=f"takes no {name}"):
            plan_sweep(store, VALUES, **{name: asked}, **model)
    assert plan_sweep(movie_store, VALUES, time=1, **model).time == 1
    assert open_image(store).levels[0].shape == SHAPE
    assert zarr.open_array(f"{store}/0").shape == SHAPE


def test_kept_maps_of_an_image_that_was_changed_since_are_refused(store, random_model):
    bigcp3d.segment(store, keep_maps=True, model=random_model, **{**CUT, "block": SHAPE})
    image = zarr.open_group(store, mode="r+")["0"]
    image[...] = np.asarray(image[...])[:, ::-1]
    with pytest.raises(InputError, match="have changed since"):
        list(plan_sweep(store, {"foreground": [0.5]}, roi=ROI, model=random_model, diameter_um="as-is").run())
