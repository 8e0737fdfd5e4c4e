"""Workers that a real sshd on loopback starts give the labels of the serial run."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
import yaml

import bigcp3d
from bigcp3d.errors import InputError
from tests.schedule.clusters.conftest import CUT
from tests.schedule.conftest import read_labels
from tests.task_rows import TaskRows


@pytest.fixture
def config(sshd, tmp_path):
    def write(**more):
        path = tmp_path / "ssh.yaml"
        path.write_text(yaml.safe_dump({"memory": "3GiB", "hosts": ["127.0.0.1"], **sshd, **more}))
        return path

    return write


def test_labels_of_a_run_over_ssh_are_those_of_the_serial_run(whole, config, tissue_store, random_model, tmp_path):
    settings = {"cluster": "ssh", "cluster_config": config(gpu={"hosts": ["127.0.0.1"], "memory": "3GiB"})}
    rows = TaskRows()
    output = tmp_path / "out.zarr"
    bigcp3d.segment(tissue_store, model=random_model, output=output, on_event=rows.look, **settings, **CUT)
    assert np.array_equal(read_labels(tmp_path / "out.zarr", "cells"), whole)
    by = defaultdict(set)
    for row in rows:
        by[row.name].add(row.worker)
    assert len(by["predict"]) == 1, "the worker that offers a GPU"


def test_a_machine_that_does_not_answer_is_told(config, tissue_store, random_model, tmp_path):
    settings = {"cluster": "ssh", "cluster_config": config(port=1)}
    with pytest.raises(InputError, match=r"no cluster could be started over SSH on 127\.0\.0\.1: .*check that `ssh"):
        bigcp3d.segment(tissue_store, model=random_model, output=tmp_path / "out.zarr", **settings, **CUT)
