"""Runs as on a GPU: the device's way of predicting and tracking, on whatever device there is; and who gets what.

No test here needs a GPU. torch's "cpu" stands for one where the code asks for the kind of its device.
"""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest
import torch
from distributed import Scheduler, SpecCluster, Worker, get_worker

import bigcp3d
from bigcp3d.edge.workdir.records import read_records
from bigcp3d.pure.predict import batch_check as steady
from bigcp3d.pure.predict import run_network as predict
from bigcp3d.pure.track import tracking_torch
from bigcp3d.schedule.running.distribute import WaitingForGpus, resources_of
from bigcp3d.schedule.running.tasks import Task
from bigcp3d.work.passes import passes
from bigcp3d.work.run.run import Run
from bigcp3d.work.run.work_dir import WorkDir
from tests.schedule.conftest import SHAPE, read_labels

CUT = {"block": (17, 30, 26), "min_volume": 2, "diameter_um": "as-is"}


@pytest.fixture(scope="module")
def expected(tissue_store, random_model, tmp_path_factory):
    """Labels of the whole volume, as the CPU finds them."""
    output = tmp_path_factory.mktemp("whole") / "out.zarr"
    settings = {**CUT, "block": SHAPE, "executor": "serial", "diameter_um": "as-is"}
    bigcp3d.segment(tissue_store, model=random_model, output=output, **settings)
    return read_labels(output, "cells")


@pytest.fixture
def tracked(monkeypatch) -> list[str]:
    """Everything takes the device's way; the devices on which blocks were to be tracked."""
    seen, on_device = [], tracking_torch.track_on_device

    def track(*where, device, **limits):
        seen.append(device)
        return on_device(*where, device="cpu", chunk=10_000, **limits)

    monkeypatch.setattr(Run, "device", "cuda")
    monkeypatch.setattr(Run, "processor", "a GPU")
    monkeypatch.setattr(steady, "MOST", 1)  # what a CPU computes in batches may differ in the last bit
    monkeypatch.setattr(tracking_torch, "track_on_device", track)
    monkeypatch.setattr(predict, "sum_patches", partial(predict.sum_patches, ahead=True))
    return seen


@pytest.mark.parametrize("block", [(17, 30, 26), pytest.param((5, 40, 48), marks=pytest.mark.slow), SHAPE], ids=str)
def test_labels_of_a_run_on_the_device_are_those_of_the_cpu(
    expected, tissue_store, random_model, tracked, tmp_path, block
):
    settings = {**CUT, "block": block, "output": tmp_path / "out.zarr", "executor": "serial", "diameter_um": "as-is"}
    summary = bigcp3d.segment(tissue_store, model=random_model, **settings)
    assert tracked == ["cuda"] * summary.blocks
    assert np.array_equal(read_labels(tmp_path / "out.zarr", "cells"), expected)


def test_labels_of_patches_in_batches_do_not_depend_on_the_block(
    tissue_store, random_model, tracked, tmp_path, monkeypatch
):
    monkeypatch.setattr(steady, "MOST", 3)
    found, shapes = [], set()
    run_network = predict.run_network
    monkeypatch.setattr(predict, "run_network", lambda n, patches: shapes.add(patches.shape) or run_network(n, patches))
    for i, block in enumerate([(17, 30, 26), (34, 9, 60), SHAPE]):
        output = tmp_path / f"{i}.zarr"
        settings = {**CUT, "block": block, "output": output, "executor": "serial", "diameter_um": "as-is"}
        bigcp3d.segment(tissue_store, model=random_model, **settings)
        found.append(read_labels(output, "cells"))
    assert len(shapes) == 1  # of one patch each where a processor computes batches in another way
    assert found[0].max() > 100
    assert np.array_equal(found[0], found[2])
    assert np.array_equal(found[1], found[2])


def test_a_worker_computes_where_its_network_lies_and_on_the_cpu_until_it_has_one(tissue_store, random_model):
    run = Run(bigcp3d.plan_segmentation(tissue_store, model=random_model, **CUT))
    assert run.device == "cpu"
    assert "network" not in vars(run)  # to ask loads nothing
    run.network = torch.nn.Linear(1, 1, device="meta")
    assert run.device == "meta"


def test_only_predictions_ask_for_a_gpu():
    assert resources_of("predict", gpus=True) == {"GPU": 1}
    assert all(resources_of(name, gpus=True) is None for name in passes.PASSES if name != "predict")
    assert resources_of("predict", gpus=False) is None


def test_a_worker_with_two_threads_predicts_one_block_while_it_writes_another(
    expected, tissue_store, random_model, tmp_path, monkeypatch
):
    """Every prediction waits until another one has begun; the worker without a GPU predicts nothing."""
    two, by = threading.Barrier(2), []
    function = passes.PASSES["predict"]

    def in_pairs(run, time, index):
        by.append(get_worker().name)
        two.wait(60)
        return function(run, time, index)

    monkeypatch.setitem(passes.PASSES, "predict", in_pairs)
    workers = {
        "gpu": {"cls": Worker, "options": {"nthreads": 2, "resources": {"GPU": 2}}},
        "cpu": {"cls": Worker, "options": {"nthreads": 1}},
    }
    scheduler = {"cls": Scheduler, "options": {"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}}
    settings = {**CUT, "output": tmp_path / "out.zarr", "work_dir": tmp_path / "work", "keep_maps": True}
    with SpecCluster(workers, scheduler, silence_logs=False) as cluster:
        bigcp3d.segment(tissue_store, model=random_model, scheduler=cluster.scheduler_address, **settings)
    assert by == ["gpu"] * len(list(read_records(WorkDir(tmp_path / "work").records(0), "predict")))
    assert np.array_equal(read_labels(tmp_path / "out.zarr", "cells"), expected)


def test_few_predictions_are_sent_ahead_to_workers_with_a_gpu():
    class TwoGpus:
        def scheduler_info(self, n_workers):
            return {"workers": {"a": {"resources": {"GPU": 1}}, "b": {"resources": {"GPU": 1}}, "c": {}}}

    predict = [Task(("predict", 0, (0, 0, k)), (), 1) for k in range(20)]
    track = [Task(("track", 0, (0, 0, k)), (), 1) for k in range(20)]
    waiting = WaitingForGpus(TwoGpus(), gpus=True)
    assert waiting.hold_back([track, predict]) == [track, predict[:8]]
    assert waiting.hold_back([]) == []
    for task in (*track, *predict[:3]):
        waiting.end(task)
    assert waiting.hold_back([]) == [predict[8:11]]
    assert WaitingForGpus(TwoGpus(), gpus=False).hold_back([track, predict]) == [track, predict]
