"""What a task took is in its record beside what it counted, and is summed up; results know nothing of it."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter

import numpy as np
import pytest

import bigcp3d
from bigcp3d.edge.stores import platforms
from bigcp3d.edge.workdir.records import read_record, write_record
from bigcp3d.errors import BlockError
from bigcp3d.schedule.running.events import BlockDone, PassStarted
from bigcp3d.schedule.running.tasks import count_passes, in_order, label_passes, object_passes
from bigcp3d.work.passes import passes
from bigcp3d.work.run import task_costs
from bigcp3d.work.run.run import Run
from bigcp3d.work.run.run_costs import sum_up_effort
from bigcp3d.work.run.task_costs import Meter, TaskSpent, read_spent
from bigcp3d.work.run.work_dir import WorkDir
from tests.schedule.conftest import ERROR, Case
from tests.task_rows import TaskRows


def test_every_task_is_a_row(tissue_store, random_model, tmp_path):
    case = Case(tissue_store, random_model, tmp_path)
    plan, before = case.plan(), time.time()
    rows, output = TaskRows(), tmp_path / "out.zarr"
    bigcp3d.segment(tissue_store, **case.settings, output=output, work_dir=case.work, on_event=rows.look)
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
    plan, seen, rows = case.plan(), [], TaskRows()
    case.segment(on_event=lambda event: [seen.append(event), rows.look(event)])
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
    earlier, rows = list(read_spent(WorkDir(case.work), case.plan().where.times)), TaskRows()
    assert {row.name for row in earlier} == {"normalise", "predict", "merge", "track", "cluster"}
    case.segment(on_event=rows.look)
    assert set(earlier) < set(rows)


def test_the_sums_of_a_run_need_one_look_at_each_task_in_any_order(tissue_store, random_model, tmp_path):
    plan = Case(tissue_store, random_model, tmp_path).plan()
    tasks = [
        TaskSpent("predict", 0, (0, 0, 0), 5, 100.0, 30.0, "a:1", 7),
        TaskSpent("predict", 0, (0, 0, 1), 6, 130.0, 30.0, "b:1", 9),
        TaskSpent("label", 0, (0, 0, 0), 4, 145.0, 15.0, "a:1", 8),
        TaskSpent("resolve", 0, (0, 0, 0), 0, 0.0, 2.0, "", 0),  # as earlier versions wrote them
    ]
    effort = sum_up_effort(iter(tasks), plan, 60.0)
    assert effort == sum_up_effort(reversed(tasks), plan, 60.0)
    assert (effort.began, effort.bin_seconds) == (100.0, 1.0)
    passes = [(each.name, each.tasks, each.voxels, each.longest_seconds, each.peak_bytes) for each in effort.passes]
    assert passes == [("resolve", 1, 0, 2.0, 0), ("predict", 2, 11, 30.0, 9), ("label", 1, 4, 15.0, 8)]
    assert [each.busy for each in effort.passes] == [(0.0,) * 60, (1.0,) * 60, (0.0,) * 45 + (1.0,) * 15]
    assert [(each.name, each.seconds) for each in effort.workers] == [("a:1", 45.0), ("b:1", 30.0), ("unknown", 2.0)]


def test_records_without_what_was_spent_are_rows_and_count(tmp_path, tissue_store, random_model):
    """As earlier versions wrote them."""
    run = Run(Case(tissue_store, random_model, tmp_path).plan())
    write_record(run.dir.records(0), "pyramid12", (0, 1, 2), {"voxels": 7, "seconds": 0.5})
    assert list(read_spent(run.dir, [0])) == [TaskSpent("pyramid", 0, (12, 0, 1, 2), 7, 0.0, 0.5, "", 0)]


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


def test_without_proc_the_peak_is_that_of_the_process(monkeypatch):
    def refuse(path, *args, **more):
        assert path.startswith("/proc/")
        raise FileNotFoundError(path)

    monkeypatch.setattr(task_costs, "open", refuse, raising=False)
    monkeypatch.setattr(platforms, "peak_bytes", lambda: 123)
    with Meter() as some:
        pass
    assert some.peak_bytes == 123


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
