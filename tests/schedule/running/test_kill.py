"""A run that is killed, at any time, is carried on by the same call and gives the same labels."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import numpy as np
import pytest

import bigcp3d
from bigcp3d.schedule import segment as segment_module
from bigcp3d.schedule.running.events import BlockDone
from tests.processes import PROCESSES
from tests.schedule.conftest import Case, read_labels

BLOCK = (12, 30, 26)


def die_amid_clean_up(after: int, *settings) -> None:
    """A run that is killed when it has removed so many files of its work directory."""
    clean_up, unlink, removed = segment_module.clean_up, os.unlink, []

    def count(*where, **more):
        removed.append(where)
        if len(removed) == after:
            os.kill(os.getpid(), signal.SIGKILL)
        return unlink(*where, **more)

    def count_removed(*run, **more):
        os.unlink = count
        return clean_up(*run, **more)

    segment_module.clean_up = count_removed
    segment(*settings)


def segment(store, settings, **more):
    """The run that all of these are."""
    return bigcp3d.segment(store, **settings, **more)


@pytest.fixture
def settings(random_model, tmp_path) -> dict[str, object]:
    same = {"model": random_model, "executor": "serial", "diameter_um": "as-is", "block": BLOCK, "min_volume": 2}
    return {**same, "output": tmp_path / "out.zarr", "work_dir": tmp_path / "work"}


def recorded(tasks: int):
    """Whether so many tasks have their record."""
    return lambda work: len(list(work.glob("run-*/t0/records/*/*.json"))) >= tasks


def removed(kind: str, files: int):
    """Whether so many of a kind of intermediate were written, and have gone since."""
    seen: set = set()

    def enough(work):
        there = {
            path for path in work.glob(f"run-*/t0/{kind}/**/*") if path.suffix in ("", ".table") and path.is_file()
        }
        seen.update(there)
        return len(seen - there) >= files

    return enough


MOMENTS = {f"{n} records": recorded(n) for n in (3, 17, 31, 45)} | {
    f"{n} {kind} gone": removed(kind, n) for kind, n in (("maps", 1), ("maps", 6), ("sinks", 3), ("offsets", 2))
}


IN_CI = ("31 records", "2 offsets gone")


@pytest.mark.parametrize("moment", [pytest.param(m, marks=() if m in IN_CI else pytest.mark.slow) for m in MOMENTS])
def test_a_killed_run_is_carried_on(tissue_store, random_model, settings, tmp_path, moment):
    whole, work = Case(tissue_store, random_model, tmp_path).whole(), settings["work_dir"]
    process = PROCESSES.Process(target=segment, args=(tissue_store, settings))
    process.start()
    while process.is_alive() and not MOMENTS[moment](work):
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "the run was over before it was killed; the control of this test"
    done = Counter(path.parent.name for path in work.glob("run-*/t0/records/*/*.json"))

    events = []
    segment(tissue_store, settings, on_event=events.append)
    repeated = Counter(e.name for e in events if isinstance(e, BlockDone) and e.seconds > 0)
    for name, tasks in {"predict": 8, "merge": 8, "track": 12, "cluster": 12}.items():
        assert repeated[name] == tasks - done[name]
    assert np.array_equal(read_labels(settings["output"], "cells"), whole)
    assert not work.exists()


@pytest.mark.parametrize("after", [pytest.param(1, marks=pytest.mark.slow), 60])
def test_a_run_that_is_killed_while_it_cleans_up_has_ended(tissue_store, settings, after):
    """The same call again finds finished labels, removes what is left, and says what the run did."""
    process = PROCESSES.Process(target=die_amid_clean_up, args=(after, tissue_store, settings))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    labels, events = read_labels(settings["output"], "cells"), []
    summary = segment(tissue_store, settings, on_event=events.append)
    assert not [e for e in events if isinstance(e, BlockDone)]
    assert summary.cells == labels.max()
    assert summary.pass_seconds.keys() >= {"predict", "label"}
    assert np.array_equal(labels, read_labels(settings["output"], "cells"))
    assert not settings["work_dir"].exists()
