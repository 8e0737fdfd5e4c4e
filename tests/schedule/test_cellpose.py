"""Whole runs with a Cellpose network: exact under blocking, planned, resumed, and refused when its file has changed."""

from __future__ import annotations

import numpy as np
import pytest

import bigcp3d
from bigcp3d.errors import ModelError, TargetError
from bigcp3d.face.describe_plan import describe_plan
from bigcp3d.work.plan.memory_and_disk import task_bytes
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.run.run import Run
from tests.fake_cellpose import CPnet, install, write_weights
from tests.schedule.conftest import SHAPE, read_labels

BLOCKS = [(17, 60, 26), (34, 20, 51)]
WHOLE = (1000, 1000, 1000)


@pytest.fixture(params=["stand-in", "Cellpose 3"])
def network_class(request, monkeypatch, tmp_path):
    """The network of the stand-in, and of the package where it is installed; patches small enough to have seams."""
    monkeypatch.setattr("bigcp3d.edge.models.cellpose.PATCH", 32)
    if request.param == "stand-in":
        install(monkeypatch, tmp_path)
        return CPnet
    pytest.importorskip("cellpose.resnet_torch", reason="Cellpose 3 is not installed: its own network is not run")
    from cellpose.resnet_torch import CPnet as Real

    return Real


@pytest.fixture
def weights(network_class, tmp_path):
    return write_weights(tmp_path / "weights", network_class)


def labels_of(store, weights, output, *, block=WHOLE, **more):
    settings = {
        "min_volume": 2,
        "max_flow_error": 5.0,
        "executor": "serial",
        "diameter_um": "as-is",
        "block": block,
        **more,
    }
    summary = bigcp3d.segment(store, output=output, model=f"cellpose:{weights}", **settings)
    return read_labels(output, "cells"), summary


def test_labels_do_not_depend_on_the_block(tissue_store, weights, tmp_path):
    whole, counted = labels_of(tissue_store, weights, tmp_path / "whole.zarr")
    plan = bigcp3d.plan_segmentation(
        tissue_store, model=f"cellpose:{weights}", diameter_um="as-is", output=tmp_path / "no.zarr"
    )
    assert counted.blocks == 1
    assert len(plan.patches.cores) > 4
    assert whole.max() > 20
    for axis, seam in enumerate((17, 30, 26)):
        below, above = np.take(whole, seam - 1, axis=axis), np.take(whole, seam, axis=axis)
        assert np.any((below == above) & (below > 0)), f"no cell crosses the seam of axis {axis}"
    for i, block in enumerate(BLOCKS):
        labels, summary = labels_of(tissue_store, weights, tmp_path / f"{i}.zarr", block=block)
        assert summary.blocks > 1
        assert np.array_equal(labels, whole), block


def test_labels_do_not_depend_on_workers_which_hold_the_network(tissue_store, tmp_path, monkeypatch):
    pytest.importorskip("cellpose.resnet_torch", reason="Cellpose 3 is not installed: workers cannot import it")
    from cellpose.resnet_torch import CPnet as Real

    monkeypatch.setattr("bigcp3d.edge.models.cellpose.PATCH", 32)
    weights = write_weights(tmp_path / "weights", Real)
    whole, _ = labels_of(tissue_store, weights, tmp_path / "whole.zarr")
    dask = {"executor": "dask", "workers": 2, "memory_limit": "4GiB", "block": (17, 30, 26)}
    labels, summary = labels_of(tissue_store, weights, tmp_path / "out.zarr", **dask)
    assert summary.blocks == 8
    assert np.array_equal(labels, whole)


@pytest.fixture
def fake_weights(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path)
    return write_weights(tmp_path / "weights")


def test_the_plan_names_the_model_and_what_it_expects(tissue_store, fake_weights, tmp_path):
    plan = bigcp3d.plan_segmentation(
        tissue_store, model=f"cellpose:{fake_weights}", diameter_um="as-is", output=tmp_path / "o.zarr"
    )
    assert f"cellpose:{fake_weights} (heat, cells of 6 voxels)" in describe_plan(plan)
    predicted = plan.prediction
    assert predicted.precision == "float32"
    assert (predicted.low_percentile, predicted.high_percentile, predicted.representation) == (1.0, 99.0, "heat")
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    asked = {"model": f"cellpose:{fake_weights}", "output": tmp_path / "o.zarr", "diameter_um": "as-is"}
    small = bigcp3d.plan_segmentation(tissue_store, **{**asked, "diameter_um": 6.0})
    assert small.sampling.factors == (1.0, 2.0, 2.0), (
        "cells of 6 um become cells of 6 working voxels, at 1, 0.5, 0.5 um"
    )
    assert small.grouping.closing_vox == 1


def test_memory_is_planned_for_the_planes(tissue_store, monkeypatch, tmp_path):
    install(monkeypatch, tmp_path)
    asked = {"output": tmp_path / "o.zarr", "block": WHOLE, "diameter_um": "as-is"}
    needs = []
    for features in (8, 64):
        path = write_weights(tmp_path / f"w{features}", widths=(2, features, features, features))
        plan = bigcp3d.plan_segmentation(tissue_store, model=f"cellpose:{path}", **asked)
        needs.append(task_bytes(plan)["predict"])
    assert needs[1] > needs[0] + 4 * SHAPE[1] * SHAPE[2] * 56 * 70
    with pytest.raises(bigcp3d.errors.InputError, match="the pass 'predict' needs"):
        bigcp3d.plan_segmentation(tissue_store, model=f"cellpose:{path}", workers=1, memory_limit="530MiB", **asked)


def test_a_changed_file_is_refused_when_the_run_is_carried_on(tissue_store, fake_weights, tmp_path, monkeypatch):
    from bigcp3d.work.passes import passes

    def broken(*args, **more):
        raise RuntimeError("stopped here")

    cluster = passes.PASSES["cluster"]
    monkeypatch.setitem(passes.PASSES, "cluster", broken)
    with pytest.raises(bigcp3d.errors.BlockError):
        labels_of(tissue_store, fake_weights, tmp_path / "out.zarr", work_dir=tmp_path / "work")
    monkeypatch.setitem(passes.PASSES, "cluster", cluster)
    original = fake_weights.read_bytes()
    write_weights(fake_weights, seed=4)
    with pytest.raises(TargetError, match="model_hash"):
        labels_of(tissue_store, fake_weights, tmp_path / "out.zarr", work_dir=tmp_path / "work")
    fake_weights.write_bytes(original)
    monkeypatch.setattr("bigcp3d.edge.models.cellpose.read_network", broken)  # predictions are kept
    labels, _ = labels_of(tissue_store, fake_weights, tmp_path / "out.zarr", work_dir=tmp_path / "work")
    assert labels.max() > 0


def test_a_worker_refuses_a_file_that_is_not_the_planned_one(tissue_store, fake_weights, tmp_path):
    plan = bigcp3d.plan_segmentation(
        tissue_store, model=f"cellpose:{fake_weights}", diameter_um="as-is", output=tmp_path / "o.zarr"
    )
    write_weights(fake_weights, seed=4)
    with pytest.raises(ModelError, match="this file differs from the one with which the run was planned"):
        _ = Run(plan).network


def test_a_model_that_cannot_be_used_is_refused_before_anything_is_written(tissue_store, tmp_path, monkeypatch):
    install(monkeypatch, tmp_path)
    with pytest.raises(ModelError, match="cyto3, nuclei, mine"):
        bigcp3d.segment(tissue_store, model="cellpose:cyto9", diameter_um="as-is", output=tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()
