"""The workflows in deploy/workflows run on a small image; of the one for Nextflow, the shell script runs."""

from __future__ import annotations

import csv
import os
import re
import shutil
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


@pytest.mark.skipif(shutil.which("bash") is None, reason="Nextflow runs its scripts with bash")
@pytest.mark.parametrize("keeps_state", [False, True])
def test_the_script_of_nextflow_makes_what_the_module_promises(tmp_path, keeps_state):
    """A stand-in for bigcp3d writes its outputs, below folders and for an image whose names hold a blank."""
    text = (WORKFLOWS / "nextflow" / "main.nf").read_text(encoding="utf-8")
    state = str(tmp_path / "kept state" / "a cell") if keeps_state else "."
    values = {
        "meta.id": "a cell",
        "image": "a cell.zarr",
        "state": state,
        "memory": "--memory-limit 900MiB",
        "args": "",
    }
    values |= {"task.cpus": "2", "task.process": "BIGCP3D_SEGMENT"}

    def fill(code: str) -> str:  # as Groovy fills a string: values, then escaped characters
        filled = re.sub(r"(?<!\\)\$\{([\w.]+)\}", lambda found: values[found[1]], code)
        return re.sub(r"\\(.)", r"\1", filled, flags=re.DOTALL)

    script, promised = text[text.index("    script:") :].split('"""')[1], text[text.index("    output:") :]
    assert not re.search(r"(?<!\\)\$(?!\{)", script), "Groovy would read this $ as its own"
    promised = re.findall(r"path\(?\s*[\"']([^\"']+)", promised[: promised.index("    script:")])
    program = tmp_path / "bin" / "bigcp3d"
    program.parent.mkdir()
    program.write_text(
        """#!/bin/bash
if [ "$1" = --version ]; then echo "bigcp3d 1.2.3"; exit; fi
[ -d "$2" ] || exit 2
while [ $# -gt 0 ]; do
    case $1 in --output) mkdir "$2" ;; --table) : > "$2" ;; esac
    shift
done
"""
    )
    program.chmod(0o755)
    (tmp_path / "data" / "a cell.zarr").mkdir(parents=True)
    task = tmp_path / "task"
    task.mkdir()
    (task / "a cell.zarr").symlink_to(tmp_path / "data" / "a cell.zarr")
    environment = {**os.environ, "PATH": os.pathsep.join([str(program.parent), os.environ["PATH"]])}
    subprocess.run(["bash", "-ue", "-c", fill(script)], cwd=task, env=environment, check=True)
    assert len(promised) == 4
    assert all((task / fill(name)).exists() for name in promised)
    assert (task / "a cell.labels.zarr").is_symlink() == keeps_state
    assert (task / "versions.yml").read_text(encoding="utf-8") == '"BIGCP3D_SEGMENT":\n    bigcp3d: 1.2.3\n'
