"""Which runs stay in one process, and that nobody sees it in the labels."""

import subprocess
import sys

import numpy as np
import pytest

import bigcp3d
from bigcp3d.errors import InputError
from bigcp3d.schedule.planning import choose_executor
from bigcp3d.schedule.running.events import ClusterReady, RunPlanned
from bigcp3d.work.plan import id_ranges
from tests.schedule.conftest import read_labels, tissue_values, write_image


@pytest.fixture
def planned(tissue_store, random_model, tmp_path):
    """How the tasks of a run with some settings would run."""

    def plan(**settings):
        settings = {"model": random_model, "diameter_um": "as-is", "output": tmp_path / "o.zarr", **settings}
        return bigcp3d.plan_segmentation(tissue_store, **settings).running

    return plan


def test_a_small_volume_stays_in_this_process_unless_workers_are_asked_for(planned, monkeypatch):
    small = planned()
    assert (small.executor, small.workers) == ("serial", 1)
    assert planned(executor="serial") == small
    assert planned(workers=2).executor == planned(executor="dask").executor == "dask"
    assert planned(workers="1:3").workers == 3
    given = planned(scheduler="tcp://127.0.0.1:9")
    assert (given.executor, given.workers) == ("dask", None)
    monkeypatch.setattr(choose_executor, "SMALL_VOX", 1000)
    assert planned().executor == "dask"
    assert planned(executor="serial").executor == "serial"


def test_the_network_gets_all_cores_that_patches_and_memory_allow(planned, monkeypatch):
    monkeypatch.setattr(choose_executor, "default_workers", lambda: 3)
    assert planned().threads == 3
    assert planned(workers=2).threads == 1  # each worker has one core
    assert planned(memory_limit="620MiB").threads in (1, 2)
    monkeypatch.setattr(choose_executor, "default_workers", lambda: 1000)
    assert planned(memory_limit="100GiB").threads == 18  # of 2 x 3 x 3 patches
    monkeypatch.setattr(choose_executor, "device_here", lambda: "cuda")
    assert planned().threads == 1


def test_a_memory_limit_also_holds_in_this_process(planned):
    with pytest.raises(InputError, match="too small for blocks"):
        planned(memory_limit="300MiB")
    for words in ("4", "-4GiB"):
        with pytest.raises(InputError, match=r"memory limit is .*; give more, with a unit, like 4GiB"):
            planned(memory_limit=words)


def test_a_worker_that_is_too_small_for_the_objects_of_a_large_run_is_refused(planned, monkeypatch):
    monkeypatch.setattr(id_ranges, "CELLS", 20)
    assert planned(memory_limit="1GiB"), "the control"
    monkeypatch.setattr(id_ranges, "CELL_BYTES", 2**26)
    with pytest.raises(InputError, match=r"the pass 'filter' needs .* which is .* more"):
        planned(memory_limit="1GiB")


def test_the_default_run_of_a_small_volume_starts_no_cluster(random_model, tmp_path):
    write_image(tmp_path / "image.zarr", tissue_values((20, 40, 40)))
    code = f"""
import sys, bigcp3d
if __name__ == "__main__":
    more = {{"diameter_um": "as-is", "min_volume": 2, "output": {str(tmp_path / "o.zarr")!r}}}
    bigcp3d.segment({str(tmp_path / "image.zarr")!r}, model={random_model!r}, **more)
    print([name for name in ("torch", "distributed") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['torch']"


@pytest.mark.slow  # `test_exact` shows it in CI
def test_labels_of_the_default_way_and_of_dask_are_equal(tissue_store, random_model, two_workers, tmp_path):
    seen, found = [], []
    for number, more in enumerate(({}, {**two_workers, "block": (34, 60, 26)})):
        output = tmp_path / f"{number}.zarr"
        bigcp3d.segment(
            tissue_store,
            model=random_model,
            output=output,
            diameter_um="as-is",
            min_volume=2,
            max_flow_error=2.0,
            on_event=seen.append,
            **more,
        )
        found.append(read_labels(output, "cells"))
    assert found[0].max() > 100
    assert np.array_equal(*found)
    assert [event.plan.running.executor for event in seen if isinstance(event, RunPlanned)] == ["serial", "dask"]
    assert sum(isinstance(event, ClusterReady) for event in seen) == 1
