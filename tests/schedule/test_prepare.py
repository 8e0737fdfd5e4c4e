"""Images are prepared before the network: labels equal to those of the whole volume, however the run is cut."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import bigcp3d
from bigcp3d.edge.image.preparation import steps_of
from bigcp3d.edge.labels.made_labels import read_made
from bigcp3d.edge.models.model_families import load_card
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.predict.normalise import estimate_range, normalise_intensity, scale_intensity
from bigcp3d.pure.prepare.prepare_box import prepare_box
from bigcp3d.schedule.sweep import plan_sweep
from bigcp3d.work.analyse.diameter_sample import open_sample
from tests.schedule.conftest import CUT, SHAPE, Case, read_labels, tissue_values, write_image

PREPARE = "median:3px background:6px clahe:12px contrast:9px gaussian:0.4um"


@pytest.fixture(scope="module")
def whole(tissue_store, random_model, tmp_path_factory):
    """Labels of one block, with the preparation and without."""
    case = Case(tissue_store, random_model, tmp_path_factory.mktemp("whole"))
    plain = case.whole()
    case.folder = tmp_path_factory.mktemp("prepared")
    case.settings["prepare"] = PREPARE
    return case.whole(), plain


def test_the_preparation_matters(whole):
    prepared, plain = whole
    assert prepared.max() > 50
    assert not np.array_equal(prepared, plain)


@pytest.mark.parametrize("block", [(17, 30, 26), pytest.param((5, 40, 48), marks=pytest.mark.slow)], ids=str)
def test_labels_do_not_depend_on_the_block(whole, tissue_store, random_model, block, tmp_path):
    labels = Case(tissue_store, random_model, tmp_path, block=block, prepare=PREPARE).segment()
    assert np.array_equal(labels, whole[0])


@pytest.mark.slow
def test_labels_do_not_depend_on_workers(whole, tissue_store, random_model, tmp_path):
    dask = {"executor": "dask", "workers": 2, "memory_limit": "4GiB", "prepare": PREPARE}
    assert np.array_equal(Case(tissue_store, random_model, tmp_path, **dask).segment(), whole[0])


@pytest.mark.slow
def test_labels_do_not_depend_on_the_block_on_a_working_grid(tissue_store, random_model, tmp_path):
    case = Case(tissue_store, random_model, tmp_path, prepare=PREPARE, diameter_um=3.0)
    assert np.array_equal(case.segment(block=(13, 30, 17)), case.whole())


def test_nan_is_the_low_percentile_for_every_block(random_model, tmp_path):
    values = tissue_values().astype(np.float32)
    values[8:14, 20:44, 15:30] = np.nan
    write_image(tmp_path / "image.zarr", values)
    case = Case(str(tmp_path / "image.zarr"), random_model, tmp_path, prepare="median:3px background:6px gaussian:1px")
    labels = case.segment(block=(34, 30, 26))
    assert np.array_equal(labels, case.whole())
    assert labels.max() > 20


@pytest.mark.slow
def test_cells_of_a_region_are_those_of_the_whole_volume(whole, tissue_store, random_model, tmp_path):
    case = Case(tissue_store, random_model, tmp_path, prepare=PREPARE, block=(20, 31, 40))
    part = case.segment(roi="4:30,22:58,6:40")
    inside = np.zeros(SHAPE, bool)
    inside[4:30, 22:58, 6:40] = True
    kept = [i for i in np.unique(whole[0][inside]) if i and inside[whole[0] == i].all()]
    assert len(kept) > 5
    for cell in kept:
        voxels = whole[0] == cell
        number = part[voxels][0]
        assert number > 0
        assert np.array_equal(part == number, voxels)


def test_an_array_and_a_sweep_give_the_same_labels(whole, tissue_store, random_model):
    settings = {"model": random_model, "diameter_um": "as-is", "min_volume": 2, "scale_um": (1.0, 0.5, 0.5)}
    assert np.array_equal(bigcp3d.segment_array(tissue_values(), prepare=PREPARE, **settings), whole[0])
    del settings["scale_um"]
    trials = list(plan_sweep(tissue_store, {"prepare": ["none", PREPARE]}, **settings).run())
    assert [trial.settings["prepare"] for trial in trials] == ["none", PREPARE]
    assert np.array_equal(trials[0].labels, whole[1])
    assert np.array_equal(trials[1].labels, whole[0])


def test_an_update_takes_the_preparation_of_the_labels(tissue_store, random_model, tmp_path):
    shutil.copytree(tissue_store, tmp_path / "image.zarr")
    run = {**CUT, "block": SHAPE, "model": random_model, "prepare": PREPARE}
    bigcp3d.segment(tmp_path / "image.zarr", **run)
    before = read_labels(tmp_path / "image.zarr", "cells")
    assert f"prepared by {PREPARE}" in str(read_made(tmp_path / "image.zarr" / "labels" / "cells"))
    done = bigcp3d.update(tmp_path / "image.zarr", roi="4:30,22:58,6:40", block=SHAPE, executor="serial")
    assert done.came == done.same > 5
    assert np.array_equal(read_labels(tmp_path / "image.zarr", "cells"), before)


def test_another_preparation_is_another_plan_and_has_other_maps(whole, tissue_store, random_model, tmp_path):
    case = Case(tissue_store, random_model, tmp_path, prepare=PREPARE, block=SHAPE)
    assert case.plan().key != case.plan(prepare="gaussian:0.4um").key
    assert case.plan().differences(case.plan(prepare=None)) == [f"prepare not given then, {PREPARE} now"]
    kept = {"keep_maps": True, "work_dir": tmp_path / "runs" / "one"}
    assert np.array_equal(case.segment(**kept), whole[0])
    later = {"output": tmp_path / "later.zarr", "work_dir": tmp_path / "runs" / "two"}
    assert case.plan(**later).reuses_maps
    assert not case.plan(**later, prepare=None).reuses_maps
    with pytest.raises(InputError, match=r"prepare median.* then, not given now"):
        case.plan(**later, prepare=None, start="maps")
    assert np.array_equal(case.segment("later.zarr", work_dir=later["work_dir"]), whole[0])


def test_an_estimate_looks_at_the_prepared_image(tissue_store, random_model):
    card = load_card(random_model)
    plain, sample = (open_sample(tissue_store, card, prepare=text) for text in (None, PREPARE))
    (crop,) = sample.crops((1.0, 1.0, 1.0))  # the whole volume
    raw = tissue_values()
    values = scale_intensity(raw, *estimate_range([raw], card.low_percentile, card.high_percentile), bad=0.0)
    steps = steps_of(PREPARE, sample.image, 0)
    prepared = prepare_box(lambda box: values[box.slices()], Box.of_shape(SHAPE), SHAPE, steps)
    limits = estimate_range([prepared], card.low_percentile, card.high_percentile)
    assert np.array_equal(crop[0], normalise_intensity(prepared, *limits, card.clip))
    assert not np.array_equal(crop, plain.crops((1.0, 1.0, 1.0))[0])


def test_maps_that_are_given_are_not_prepared(tissue_store):
    with pytest.raises(InputError, match="--prepare and --maps were both given"):
        bigcp3d.plan_segmentation(tissue_store, maps="maps.zarr", prepare="gaussian:1")
    with pytest.raises(InputError, match="there is no filter 'sharpen'"):
        bigcp3d.plan_segmentation(tissue_store, prepare="sharpen:1")
