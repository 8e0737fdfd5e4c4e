"""The workflows in deploy/workflows run as they stand, on a small image."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bigcp3d
from tests.schedule.conftest import read_labels

WORKFLOWS = Path(__file__).parents[1] / "deploy" / "workflows"


@pytest.mark.slow
def test_the_rule_of_snakemake_writes_labels_and_a_table_once(tmp_path):
    pytest.importorskip("snakemake", reason="snakemake is not installed (pip install snakemake)")
    image = tmp_path / "data" / "tissue.zarr"
    bigcp3d.simulate(image, bigcp3d.Tissue(shape=(8, 32, 32)))
    options = "--model membrane --diameter as-is --block 8 16 32 --precision float32"

    def snakemake() -> str:
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(WORKFLOWS / "snakemake" / "Snakefile")]
        command += ["--cores", "2", "--set-resources", "segment:mem_mb=6000"]
        command += ["--config", "images=data", "results=results", f"options={options}"]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    snakemake()
    results = tmp_path / "results"
    bigcp3d.segment(image, model="membrane", diameter_um="as-is", precision="float32", executor="serial", name="serial")
    labels = read_labels(results / "tissue.labels.zarr", "cells")
    assert labels.max() > 0
    assert np.array_equal(labels, read_labels(image, "serial"))
    with open(results / "tissue.cells.csv") as file:
        assert len(list(csv.DictReader(file))) == labels.max()
    assert not (results / "tissue.work").exists()
    assert "Nothing to be done" in snakemake()
