"""A bounded number of tasks is open at a time, and any order in which they end runs the same tasks."""

from __future__ import annotations

import numpy as np
import pytest

from bigcp3d.schedule.running import distribute
from bigcp3d.schedule.running.open_tasks import OpenTasks
from bigcp3d.schedule.running.serial import execute_serially
from bigcp3d.schedule.running.tasks import Task, label_tasks, object_tasks
from tests.schedule.conftest import ERROR, Case

MANY = ("normalise", "predict", "merge", "track", "cluster")


@pytest.fixture
def tasks(tissue_store, random_model, tmp_path) -> list[Task]:
    plan = Case(tissue_store, random_model, tmp_path, **{**ERROR, "block": (9, 20, 20)}).plan()
    return [*object_tasks(plan), *label_tasks(plan)]


def run_in_any_order(tasks: list[Task], most: int, seed: int, failing: set) -> tuple[list, int]:
    """Keys in the order in which they end, and the most that could run at a time."""
    rng, waiting, ended, widest = np.random.default_rng(seed), OpenTasks(tasks, most), [], 0
    running = waiting.take()
    while running:
        widest = max(widest, len(running))
        task = running.pop(int(rng.integers(len(running))))
        assert set(ended).issuperset(task.needs), "it runs after all that it needs"
        ended.append(task.key)
        waiting.end(task.key, failed=task.key in failing)
        running += waiting.take()
    return ended, widest


@pytest.mark.parametrize("most", [1, 7, 50, 10_000])
def test_all_tasks_run_once_in_any_order_and_never_more_are_open(tasks, most):
    ended, widest = run_in_any_order(tasks, most, most, set())
    assert sorted(ended) == sorted(task.key for task in tasks)
    assert widest <= most


@pytest.mark.parametrize("most", [1, 30, 10_000])
def test_after_failures_the_same_tasks_run_as_one_after_the_other(tasks, most, monkeypatch):
    failing = {task.key for task in tasks if task.key[0] in ("predict", "track", "check") and task.key[2][1:] == (1, 0)}
    ran = []

    def perform(run, name, time, index):
        ran.append((name, time, index))
        if ran[-1] in failing:
            raise ValueError("bad")
        return {}

    monkeypatch.setattr("bigcp3d.schedule.running.serial.perform", perform)
    execute_serially(None, tasks, lambda *_: None, lambda *_: None)
    ended, _ = run_in_any_order(tasks, most, 0, failing)
    assert 0 < len(ended) < len(tasks)
    assert sorted(ended) == sorted(ran)


def test_many_can_run_though_few_are_open(tasks):
    """Whatever the shape of the volume: passes alternate in the list."""
    _, widest = run_in_any_order([task for task in tasks if task.key[0] in MANY], 40, 0, set())
    assert widest >= 40 // 5


def test_the_scheduler_knows_few_tasks_and_labels_are_the_same(
    tissue_store, random_model, two_workers, tmp_path, monkeypatch
):
    from distributed import Client

    monkeypatch.setattr(distribute, "MOST_OPEN", 6)
    case, known = Case(tissue_store, random_model, tmp_path), []
    with Client(two_workers["scheduler"], set_as_default=False) as client:

        def look(event):
            known.append(client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))

        labels = case.segment(on_event=look, **two_workers)
    assert 2 <= max(known) <= 2 * 6
    assert np.array_equal(labels, case.whole())
