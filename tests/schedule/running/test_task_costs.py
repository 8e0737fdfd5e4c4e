"""What a task took is in its record beside what it counted, and in the summary; results know nothing of it."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter

import numpy as np
import pytest

import bigcp3d
from bigcp3d.edge.workdir.records import read_record, write_record
from bigcp3d.errors import BlockError
from bigcp3d.schedule.running.events import BlockDone, PassStarted
from bigcp3d.schedule.running.tasks import count_passes, in_order, label_passes, object_passes
from bigcp3d.work.passes import passes
from bigcp3d.work.run.run import Run
from bigcp3d.work.run.task_costs import Meter, TaskSpent, read_spent
from bigcp3d.work.run.work_dir import WorkDir
from tests.schedule.conftest import ERROR, Case


def test_every_task_is_a_row_of_the_summary(tissue_store, random_model, tmp_path):
    case = Case(tissue_store, random_model, tmp_path)
    plan, before = case.plan(), time.time()
    summary = bigcp3d.segment(tissue_store, **case.settings, output=tmp_path / "out.zarr", work_dir=case.work)
    rows = summary.tasks
    keys = [task.key for tasks in (in_order(object_passes(plan)), in_order(label_passes(plan))) for task in tasks]
    assert Counter((row.name, row.time, row.index) for row in rows) == Counter(keys)
    assert all(row.worker == f"{socket.gethostname()}:{os.getpid()}" for row in rows)
    assert [row.began for row in rows] == sorted(row.began for row in rows)
    assert all(before <= row.began <= row.began + row.seconds <= time.time() for row in rows)
    assert sum(row.voxels for row in rows if row.name == "track") == np.prod(plan.shape)
    assert {row.name for row in rows if row.peak_bytes == 0} == set()
    assert not case.work.exists()


def test_the_tasks_of_a_region_fill_as_many_voxels_as_were_planned(tissue_store, random_model, tmp_path):
    case = Case(tissue_store, random_model, tmp_path, **ERROR, roi="0:9,40:60,:")
    plan, seen = case.plan(), []
    rows = bigcp3d.segment(
        tissue_store, **case.settings, output=tmp_path / "out.zarr", work_dir=case.work, on_event=seen.append
    ).tasks
    counts = count_passes([*object_passes(plan), *label_passes(plan)])
    told = {event.name: event.voxels for event in seen if isinstance(event, PassStarted)}
    done = Counter[str]()
    for event in seen:
        if isinstance(event, BlockDone):
            done[event.name] += event.voxels
    assert {name: voxels for name, (_, voxels) in counts.items()} == told == dict(done)
    assert told == {name: sum(row.voxels for row in rows if row.name == name) for name in told}
    assert told["label"] == plan.voxels == 9 * 20 * 51


def test_rows_of_an_earlier_run_stay_as_they_were(tissue_store, random_model, tmp_path, monkeypatch):
    case = Case(tissue_store, random_model, tmp_path)
    with monkeypatch.context() as patch:
        patch.setitem(passes.PASSES, "resolve", lambda *_: 1 / 0)
        with pytest.raises(BlockError):
            case.segment()
    earlier = read_spent(WorkDir(case.work), case.plan().where.times)
    assert {row.name for row in earlier} == {"normalise", "predict", "merge", "track", "cluster"}
    summary = bigcp3d.segment(tissue_store, **case.settings, output=tmp_path / "out.zarr", work_dir=case.work)
    assert set(earlier) < set(summary.tasks)


def test_records_without_what_was_spent_are_rows_and_count(tmp_path, tissue_store, random_model):
    """As earlier versions wrote them."""
    run = Run(Case(tissue_store, random_model, tmp_path).plan())
    write_record(run.dir.records(0), "pyramid12", (0, 1, 2), {"voxels": 7, "seconds": 0.5})
    assert read_spent(run.dir, [0]) == [TaskSpent("pyramid", 0, (12, 0, 1, 2), 7, 0.0, 0.5, "", 0)]


def test_what_was_spent_is_apart_from_what_was_counted_and_as_whole(tmp_path):
    write_record(tmp_path, "track", (0, 0, 0), {"voxels": 7}, {"worker": "a:1"})
    assert read_record(tmp_path, "track", (0, 0, 0)) == {"voxels": 7}
    path = tmp_path / "track" / "0.0.0.json"
    path.write_text(path.read_text().replace("a:1", "b:1"))
    assert read_record(tmp_path, "track", (0, 0, 0)) is None


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="a peak by task is Linux's")
def test_a_peak_is_that_of_its_own_task():
    with Meter() as large:
        np.ones(2**27, np.uint8)
    with Meter() as small:
        pass
    assert large.peak_bytes > small.peak_bytes + 2**26


def test_memory_of_a_gpu_is_what_torch_held_while_the_task_ran(monkeypatch):
    import torch

    with Meter() as none:
        pass
    assert none.spent()["gpu_peak_bytes"] == 0
    held = [7 * 2**30]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: held.__setitem__(0, 2**20))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: held[0])
    with Meter() as some:
        held[0] = max(held[0], 3 * 2**30)
    assert some.spent()["gpu_peak_bytes"] == 3 * 2**30  # not what an earlier task had held
