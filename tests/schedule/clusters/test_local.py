"""Workers of this machine: one to a GPU, none sees another's, they come and go, and the labels stay.

No test here needs a GPU; what torch would say of some is replaced.
"""

from __future__ import annotations

import asyncio
import os
import time
from threading import Thread
from types import SimpleNamespace

import numpy as np
import pytest
from distributed import Client

import bigcp3d
from bigcp3d.errors import InputError
from bigcp3d.schedule.clusters import connect, this_machine
from bigcp3d.schedule.clusters.local import LocalWorkers
from bigcp3d.schedule.clusters.requested_machines import Machines, Size
from bigcp3d.schedule.clusters.restart_ended_jobs import AdaptiveWithRestarts
from tests.processes import quick_workers
from tests.schedule.clusters.conftest import CUT
from tests.schedule.conftest import read_labels

LIMIT = 4 * 2**30


def seen(dask_worker) -> tuple[str | None, float, int]:
    """On a worker: the GPUs that it sees, those that it offers, and its threads."""
    state = dask_worker.state
    return os.environ.get("CUDA_VISIBLE_DEVICES"), state.total_resources.get("GPU", 0), state.nthreads


def test_where_no_worker_comes_up_the_line_that_scripts_need_is_named(monkeypatch):
    def fail(*_):
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr("bigcp3d.schedule.clusters.local.LocalWorkers", fail)
    asked = SimpleNamespace(cluster="local", config=None, size=Size(1, 1), limit_bytes=LIMIT)
    with pytest.raises(InputError, match=r'Nanny failed to start.*`if __name__ == "__main__":`.*executor="serial"'):
        connect._start(asked, 0, None)


def test_a_gpu_has_one_worker_that_sees_it_alone_and_the_others_see_none():
    with (
        quick_workers(),
        LocalWorkers(Size(2, 2), LIMIT, ["GPU-5"], 2, None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        assert sorted(client.run(seen).values()) == [("", 0, 1), ("GPU-5", 2, 2)]


def test_gpus_are_given_out_one_by_one_and_taken_back():
    holder = SimpleNamespace(worker_spec={}, gpus=("2", "3"), gpu_threads=1, common={})
    for name in range(3):
        holder.worker_spec[name] = LocalWorkers._next_spec(holder)
    options = [spec["options"] for spec in holder.worker_spec.values()]
    assert [o["env"]["CUDA_VISIBLE_DEVICES"] for o in options] == ["2", "3", ""]
    assert [o.get("resources") for o in options] == [{"GPU": 1}, {"GPU": 1}, None]
    del holder.worker_spec[0]
    assert LocalWorkers._next_spec(holder)["options"]["env"] == {"CUDA_VISIBLE_DEVICES": "2"}


def test_without_gpus_nothing_is_said_of_them():
    holder = SimpleNamespace(worker_spec={}, gpus=(), gpu_threads=1, common={})
    assert LocalWorkers._next_spec(holder)["options"] == {"nthreads": 1}


@pytest.mark.parametrize(
    ("environment", "count", "expected"),
    [(None, 2, ["0", "1"]), ("3,7", 2, ["3", "7"]), ("GPU-a, GPU-b", 2, ["GPU-a", "GPU-b"]), (None, 0, [])],
)
def test_gpus_are_named_as_the_environment_names_them(monkeypatch, environment, count, expected):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if environment is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", environment)
    assert this_machine.visible_gpus() == expected


@pytest.mark.slow
def test_workers_that_come_and_go_change_no_label(whole, tissue_store, random_model, tmp_path, monkeypatch):
    """One worker more and one fewer, again and again, while the run goes."""
    counts, clusters, over = set(), [], []
    start = connect._start

    def start_and_keep(*where):
        clusters.append(start(*where))
        return clusters[0]

    def shake():
        while not clusters:
            time.sleep(0.05)
        for n in (2, 1) * 20:
            if over:
                break
            clusters[0].scale(n)
            for _ in range(15):
                counts.add(len(clusters[0].scheduler_info["workers"]))
                time.sleep(0.1)

    monkeypatch.setattr(connect, "_start", start_and_keep)
    shaker = Thread(target=shake)
    shaker.start()
    settings = {
        "model": random_model,
        "output": tmp_path / "out.zarr",
        "workers": 1,
        "memory_limit": "4GiB",
        "diameter_um": "as-is",
    }
    try:
        bigcp3d.segment(tissue_store, **settings, block=(12, 20, 17), min_volume=2)
    finally:
        over.append(True)
        shaker.join()
    assert {1, 2} <= counts, "the control: a worker came, and one left"
    assert np.array_equal(read_labels(tmp_path / "out.zarr", "cells"), whole)


def test_an_adaptive_cluster_gives_the_same_labels(whole, tissue_store, random_model, tmp_path):
    settings = {
        "model": random_model,
        "output": tmp_path / "out.zarr",
        "workers": "1:2",
        "memory_limit": "4GiB",
        "diameter_um": "as-is",
    }
    with quick_workers():
        bigcp3d.segment(tissue_store, **{**CUT, **settings})
    assert np.array_equal(read_labels(tmp_path / "out.zarr", "cells"), whole)


def test_a_pass_of_one_task_stops_no_worker_unless_it_takes_seconds():
    """Dask asks once a second how many workers the open tasks need; between two passes that may be one."""

    async def workers_to_close(**_):
        return [1]

    scheduler = SimpleNamespace(workers_to_close=workers_to_close)
    names = {"plan": {0, 1}, "requested": {0, 1}, "observed": {0, 1}, "worker_spec": {}, "workers": {}}
    adaptive = AdaptiveWithRestarts(SimpleNamespace(scheduler_comm=scheduler, **names), interval=0, minimum=1)

    def advise(*targets):
        return [asyncio.run(adaptive.recommendations(target))["status"] for target in targets]

    assert advise(1, 1, 2, 1, 1, 2) == ["same"] * 6
    assert advise(1, 1, 1) == ["same", "same", "down"]


def test_local_workers_keep_the_memory_of_a_patch():
    settings = connect.dask_settings(Machines(), None)["distributed.nanny.pre-spawn-environ"]
    assert settings.items() >= this_machine.WORKER_ENVIRONMENT.items()
    assert "OMP_NUM_THREADS" in settings, "what Dask sets stays"
