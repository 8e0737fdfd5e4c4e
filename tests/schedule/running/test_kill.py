"""A run that is killed, at any time, is carried on by the same call and gives the same labels."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest

import bigcp3d
from bigcp3d.schedule.running.events import BlockDone
from tests.schedule.conftest import Case, read_labels

BLOCK = (12, 30, 26)
SCRIPT = """
import sys
import bigcp3d
store, model, output, work = sys.argv[1:]
more = {"executor": "serial", "diameter_um": "as-is", "block": (12, 30, 26), "min_volume": 2}
bigcp3d.segment(store, model=model, output=output, work_dir=work, **more)
"""


def recorded(tasks: int):
    """Whether so many tasks have their record."""
    return lambda work: len(list(work.glob("t0/records/*/*.json"))) >= tasks


def removed(kind: str, files: int):
    """Whether so many of a kind of intermediate were written, and have gone since."""
    seen: set = set()

    def enough(work):
        there = {path for path in work.glob(f"t0/{kind}/**/*") if path.suffix in ("", ".table") and path.is_file()}
        seen.update(there)
        return len(seen - there) >= files

    return enough


MOMENTS = {f"{n} records": recorded(n) for n in (3, 17, 31, 45)} | {
    f"{n} {kind} gone": removed(kind, n) for kind, n in (("maps", 1), ("maps", 6), ("sinks", 3), ("offsets", 2))
}


IN_CI = ("31 records", "2 offsets gone")


@pytest.mark.parametrize("moment", [pytest.param(m, marks=() if m in IN_CI else pytest.mark.slow) for m in MOMENTS])
def test_a_killed_run_is_carried_on(tissue_store, random_model, tmp_path, moment):
    settings = {"model": random_model, "executor": "serial", "diameter_um": "as-is", "block": BLOCK, "min_volume": 2}
    whole = Case(tissue_store, random_model, tmp_path).whole()
    work, output = tmp_path / "work", tmp_path / "out.zarr"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, tissue_store, random_model, str(output), str(work)], stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not MOMENTS[moment](work):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run was over before it was killed; the control of this test"
    done = Counter(path.parent.name for path in work.glob("t0/records/*/*.json"))

    events = []
    bigcp3d.segment(tissue_store, output=output, work_dir=work, on_event=events.append, **settings)
    repeated = Counter(e.name for e in events if isinstance(e, BlockDone) and e.seconds > 0)
    for name, tasks in {"predict": 8, "merge": 8, "track": 12, "cluster": 12}.items():
        assert repeated[name] == tasks - done[name]
    assert np.array_equal(read_labels(output, "cells"), whole)
    assert not work.exists()


@pytest.mark.parametrize("after", [pytest.param(1, marks=pytest.mark.slow), 60])
def test_a_run_that_is_killed_while_it_cleans_up_has_ended(tissue_store, random_model, tmp_path, after):
    """The same call again finds finished labels, removes what is left, and says what the run did."""
    output, work = tmp_path / "out.zarr", tmp_path / "work"
    killed = SCRIPT.replace(
        "import bigcp3d\n",
        "import bigcp3d, os, pathlib, shutil, signal\n"
        "from bigcp3d.schedule.running import start\n"
        "removed, unlink, end = [], os.unlink, start.clean_up\n"
        "def counting(*a, **k):\n"
        f"    removed.append(1) or len(removed) < {after} or os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return unlink(*a, **k)\n"
        "def patched(*a, **k):\n"
        "    os.unlink = counting\n"
        "    return end(*a, **k)\n"
        "import bigcp3d.schedule.segment as module; module.clean_up = patched\n",
    )
    process = subprocess.run([sys.executable, "-c", killed, tissue_store, random_model, str(output), str(work)])
    assert process.returncode == -signal.SIGKILL
    labels = read_labels(output, "cells")
    settings = {"model": random_model, "executor": "serial", "diameter_um": "as-is", "block": BLOCK, "min_volume": 2}
    events = []
    summary = bigcp3d.segment(tissue_store, output=output, work_dir=work, on_event=events.append, **settings)
    assert not [e for e in events if isinstance(e, BlockDone)]
    assert summary.cells == labels.max()
    assert {row.name for row in summary.tasks} >= {"predict", "label"}
    assert np.array_equal(labels, read_labels(output, "cells"))
    assert not work.exists()
