"""Random rounds of killing and carrying on; hundreds are run by hand (`tests.benchmarks.kill_rounds`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="rounds are forked")
@pytest.mark.parametrize(("executor", "rounds"), [("serial", 10), ("dask", 3)])
def test_runs_that_are_killed_at_random_and_carried_on_give_the_same_labels(executor, rounds):
    """Nothing that was finished is computed again: at most what was in flight, which the script counts."""
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-m", "tests.benchmarks.kill_rounds", "--rounds", str(rounds), "--seed", "7"]
    done = subprocess.run(
        [*command, "--dask", "1" if executor == "dask" else "0"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == []
    assert sum(found["rounds"].values()) >= rounds
    assert found["computed again"] <= found["in flight at kills"]
