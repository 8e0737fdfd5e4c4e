"""What a run on two workers writes to stderr: lines of bigcp3d, and none of Dask or Python, however the run ends."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.schedule.conftest import write_image
from tests.schedule.running.test_faults import Faulty, others, wait_until


def logged(work: Path) -> str:
    return "".join(path.read_text() for path in sorted(work.glob("logs/*.log")))


@pytest.fixture
def faulty(tissue_store, random_model, tmp_path) -> Faulty:
    return Faulty(tissue_store, random_model, tmp_path)


@pytest.mark.slow
def test_a_worker_that_is_lost_and_an_error_that_passes_are_not_shown(faulty):
    code, said = faulty.run(faults="kill track,ioerror cluster")
    assert code == 0, said
    assert (faulty.faults / "ioerror cluster").exists()
    assert others(said) == []
    assert not faulty.work.exists()


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_of_a_terminal_which_all_processes_get_leaves_one_line(faulty, times):
    process = faulty.start("--workers", "2", faults="hang predict")
    wait_until((faulty.faults / "hang predict").exists)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert others(said) == []
    assert said.count("bigcp3d: interrupted; finished blocks are kept") == 1
    assert "Async instruction" in logged(faulty.work), "a line of Dask, from a worker"


def test_an_error_of_input_is_tried_once_and_told_without_traceback(random_model, tmp_path, capfd):
    write_image(tmp_path / "nan.zarr", np.full((34, 60, 51), np.nan, "float32"))
    faulty = Faulty(str(tmp_path / "nan.zarr"), random_model, tmp_path)
    code, said = faulty.run_here()
    assert code == 2, said
    assert others(said) == others(capfd.readouterr().err) == []
    assert "bigcp3d: InputError" in said
    assert "sampled voxels are NaN or infinite" in said
    assert faulty.begun() == 1


@pytest.mark.slow
def test_a_bug_in_a_task_is_tried_three_times_and_its_traceback_is_in_the_log(faulty):
    code, said = faulty.run("--workers", "1", faults="always bug resolve")
    assert code == 4, said
    assert others(said) == []
    assert "FAILED: resolve of block (0, 0, 0), time 0: ZeroDivisionError: a bug" in said
    assert (faulty.faults / "begun").read_text().count("resolve") == 3
    assert "Compute Failed" in logged(faulty.work)


@pytest.mark.slow
def test_a_disk_that_fills_up_is_one_line(faulty, small_disk):
    disk, enlarge = small_disk
    faulty.work = disk / "work"
    code, said = faulty.run("--workers", "2", "--work-dir", str(faulty.work))
    assert code == 3, said
    assert others(said) == []
    assert "FAILED" not in said
    assert "work: cannot be written: No space left on device; make space on its disk" in said
    assert "Finished blocks are kept, and the same command continues" in said
    enlarge()
    assert faulty.segment().any()
