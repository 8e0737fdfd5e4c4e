"""A bounded number of tasks is open at a time, and any order in which they end runs the same tasks."""

from __future__ import annotations

import numpy as np
import pytest
from distributed import Client, LocalCluster

from bigcp3d.schedule.running import distribute
from bigcp3d.schedule.running.open_tasks import OpenTasks
from bigcp3d.schedule.running.serial import execute_serially
from bigcp3d.schedule.running.tasks import Task, in_order, label_passes, object_passes
from tests.schedule.conftest import ERROR, Case

MANY = ("normalise", "predict", "merge", "track", "cluster")


@pytest.fixture
def tasks(tissue_store, random_model, tmp_path) -> list[Task]:
    plan = Case(tissue_store, random_model, tmp_path, **{**ERROR, "block": (9, 20, 20)}).plan()
    return [*in_order(object_passes(plan)), *in_order(label_passes(plan))]


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


def test_the_scheduler_knows_few_tasks_and_gets_each_after_its_needs(tasks, any_dashboard_port, monkeypatch):
    """On workers that are threads of this process, with tasks that only say that they ran, and one that fails."""
    needs, began, ended, known, failed = {task.key: task.needs for task in tasks}, [], set(), [], []
    bad = next(task.key for task in tasks if task.key[0] == "check")

    def perform(run, *key):
        assert ended.issuperset(needs[key])
        began.append(key)
        if key == bad:
            raise ZeroDivisionError
        return {"voxels": 0}

    def done(task, counts):
        ended.add(task.key)
        known.append(len(cluster.scheduler.tasks))

    monkeypatch.setattr(distribute, "perform", perform)
    monkeypatch.setattr(distribute, "MOST_OPEN", 6)
    monkeypatch.setattr(distribute.RunPlugin, "setup", lambda plugin, worker: setattr(plugin, "run", None))
    monkeypatch.setattr(distribute.RunPlugin, "teardown", lambda plugin, worker: None)
    objects = [task for task in tasks if task.key[0] != "label"]
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.register_plugin(distribute.RunPlugin("", "run", False), name="run")
        failures = distribute.execute_on_dask(client, "run", False, objects, done, lambda *found: failed.append(found))
    assert 2 <= max(known) <= 2 * 6
    assert list(failures) == [bad] == [task.key for task, _ in failed]
    assert began.count(bad) == 1 + distribute.RETRIES
    waiting = {task.key for task in objects if bad in task.needs}
    assert set(began) == {task.key for task in objects} - waiting
    assert len(ended) == len(objects) - len(waiting) - 1
