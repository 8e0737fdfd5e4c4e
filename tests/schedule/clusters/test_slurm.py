"""A real SLURM on loopback gives the labels of the serial run, with CPU and GPU jobs, and when jobs are taken away."""

from __future__ import annotations

import subprocess
import time
from collections import defaultdict
from threading import Thread

import numpy as np
import psutil
import pytest
import yaml

import bigcp3d
from bigcp3d.errors import InputError
from bigcp3d.schedule.running.events import BlockDone
from tests.schedule.clusters.conftest import CUT, ROOT, listening
from tests.schedule.conftest import read_labels
from tests.task_rows import TaskRows


@pytest.fixture
def config(slurm, tmp_path):
    def write(**more):
        settings = {
            "memory": "3GiB",
            "interface": "lo",
            "walltime": "00:30:00",
            "prologue": [f"export PYTHONPATH={ROOT} OMP_NUM_THREADS=1"],
            "log_directory": str(tmp_path / "jobs"),
            "local_directory": str(tmp_path / "scratch"),
            **more,
        }
        path = tmp_path / "slurm.yaml"
        path.write_text(yaml.safe_dump(settings))
        return path

    return write


def queued() -> list[str]:
    """Numbers of the jobs that wait or run."""
    return subprocess.run(["squeue", "-h", "-o", "%i"], check=True, capture_output=True, text=True).stdout.split()


def test_labels_of_a_slurm_run_are_those_of_the_serial_run(whole, config, tissue_store, random_model, tmp_path):
    """Two kinds of job: one offers a GPU and alone predicts, one does not."""
    seen: list[tuple[int, set]] = []
    rows = TaskRows()
    file = config(gpu={"workers": 1, "memory": "3GiB"})

    def look(event):
        rows.look(event)
        if isinstance(event, BlockDone) and not seen:
            ours = [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]
            seen.append((len(queued()), listening([*ours, *(child for p in ours for child in p.children())])))

    bigcp3d.segment(
        tissue_store,
        model=random_model,
        output=tmp_path / "out.zarr",
        cluster="slurm",
        cluster_config=file,
        workers=1,
        on_event=look,
        **CUT,
    )
    ((jobs, addresses),) = seen
    assert jobs == 2, "the control: two jobs ran"
    assert len(addresses) >= 3
    assert {address for address, port in addresses} == {"127.0.0.1"}, "workers listen on the interface that is given"
    assert np.array_equal(read_labels(tmp_path / "out.zarr", "cells"), whole)
    by = defaultdict(set)
    for row in rows:
        by[row.name].add(row.worker)
    assert len(by["predict"]) == 1
    for _ in range(50):
        if not queued():
            break
        time.sleep(0.1)
    assert queued() == [], "no job stays"


def test_a_job_that_the_queue_refuses_is_told(config, tissue_store, random_model, tmp_path):
    with pytest.raises(InputError, match=r"the queue refused the job: .*invalid partition"):
        bigcp3d.segment(
            tissue_store,
            model=random_model,
            output=tmp_path / "out.zarr",
            cluster="slurm",
            cluster_config=config(queue="nowhere"),
            workers=1,
            **CUT,
        )
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.slow
@pytest.mark.parametrize("workers_per_job", [1, 2])
def test_jobs_that_are_taken_away_are_submitted_again(
    whole, config, tissue_store, random_model, tmp_path, workers_per_job
):
    """All jobs are cancelled once the run goes; the run waits for the new ones, and ends with the same labels."""
    cancelled: list[str] = []

    def cancel(event):
        if isinstance(event, BlockDone) and event.name == "track" and not cancelled:
            cancelled.extend(queued())
            Thread(target=subprocess.run, args=(["scancel", *cancelled],)).start()

    bigcp3d.segment(
        tissue_store,
        model=random_model,
        diameter_um="as-is",
        output=tmp_path / "out.zarr",
        cluster="slurm",
        cluster_config=config(workers_per_job=workers_per_job),
        workers=2,
        on_event=cancel,
        block=(5, 10, 10),
        min_volume=2,
    )
    assert len(cancelled) == 2 // workers_per_job
    assert np.array_equal(read_labels(tmp_path / "out.zarr", "cells"), whole)
