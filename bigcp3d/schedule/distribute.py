"""The Dask executor: the same tasks on a cluster, with a run's state held by its workers.

A worker plugin carries the plan to every worker, also to those that come later or come back, and loads the network once
there. A task travels as a key and a few integers; what it returns are a few numbers. Key prefixes are the pass
names, which is what the dashboard shows. Where workers offer the resource ``GPU``, prediction asks for one. A worker
with two threads and two of them predicts one block while it writes another.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Client, Future, Worker, WorkerPlugin, as_completed, get_worker

from bigcp3d.schedule.serial import Done, Failures
from bigcp3d.schedule.tasks import Key, Task
from bigcp3d.work.passes import Counts, perform
from bigcp3d.work.plan import Plan
from bigcp3d.work.run import Run

logger = logging.getLogger(__name__)

RETRIES = 2


class RunPlugin(WorkerPlugin):
    """Holds the run, and its network where the worker may predict, on a worker."""

    def __init__(self, plan_json: str, name: str, gpus_only: bool) -> None:
        self.plan_json = plan_json
        self.name = name
        self.gpus_only = gpus_only

    def setup(self, worker: Worker) -> None:
        """Called by Dask when the plugin reaches a worker, and when a worker starts."""
        self.run = Run(Plan.model_validate_json(self.plan_json))
        if self.run.plan.maps is None and (not self.gpus_only or "GPU" in worker.state.total_resources):
            _ = self.run.network


def perform_on_worker(plugin: str, key: Key, needs: list[Counts]) -> Counts:
    """Run one task with the run that this worker holds; ``needs`` only carries the order."""
    name, time, index = key
    held: Any = get_worker().plugins[plugin]
    return perform(held.run, name, time, index)  # type: ignore[arg-type]


def key_of(task: Task, run_id: str) -> str:
    """The task's key on the scheduler: pass first, for the dashboard groups by it; then the run, to make it unique."""
    name, time, index = task.key
    return "-".join([name, run_id, str(time), *map(str, index)])


def resources_of(name: str, gpus: bool) -> dict[str, float] | None:
    """What a task of a pass asks of its worker: a GPU to predict, where there are any. Any worker tracks."""
    return {"GPU": 1} if gpus and name == "predict" else None


@contextmanager
def run_on_workers(client: Client, plan: Plan) -> Iterator[tuple[str, bool]]:
    """Put the run on all workers while the context lasts; yield the plugin's name, and whether there are GPUs."""
    run_id = f"r0{secrets.token_hex(4)}"
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    gpus = any("GPU" in worker.get("resources", {}) for worker in workers)
    name = f"bigcp3d-{run_id}"
    client.register_plugin(RunPlugin(plan.model_dump_json(), name, gpus), name=name)
    try:
        yield name, gpus
    finally:
        client.unregister_worker_plugin(name)


def execute_on_dask(client: Client, plugin: str, gpus: bool, tasks: Iterable[Task], on_done: Done) -> Failures:
    """Submit every task, report each as it finishes, and return the errors of those that failed themselves."""
    run_id = plugin.rpartition("-")[2]
    futures: dict[Key, Future[Counts]] = {}
    by_key: dict[str, Task] = {}
    for task in tasks:
        key = key_of(task, run_id)
        by_key[key] = task
        futures[task.key] = client.submit(
            perform_on_worker,
            plugin,
            task.key,
            [futures[need] for need in task.needs],
            key=key,
            priority=task.priority,
            retries=RETRIES,
            resources=resources_of(task.key[0], gpus),
            pure=False,
        )
    failed: dict[Key, BaseException] = {}
    for future in as_completed(list(futures.values()), loop=client.loop):
        task = by_key[future.key]
        if future.status == "finished":
            on_done(task, future.result())
        else:
            failed[task.key] = future.exception() or RuntimeError(f"task {future.key} was {future.status}")
    return {key: error for key, error in failed.items() if failed.keys().isdisjoint(_needs(by_key, key, run_id))}


def _needs(by_key: dict[str, Task], key: Key, run_id: str) -> tuple[Key, ...]:
    return by_key[key_of(Task(key, (), 0), run_id)].needs
