"""The Dask executor: runs the tasks on a cluster.

A worker plugin brings the plan to every worker, also to those that join later, and loads the network there once. A task
is sent once all that it waits for has ended, as a key and a few integers, and returns a few numbers. If workers offer
the resource ``GPU``, prediction asks for one. A worker that offers two, with two threads, predicts one block while it
writes another.
"""

from __future__ import annotations

import itertools
import logging
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from distributed import CancelledError, Client, Future, KilledWorker, Worker, WorkerPlugin, as_completed, get_worker
from distributed.comm.core import CommClosedError

from bigcp3d.errors import BlockError, FullDiskError, InputError
from bigcp3d.schedule.running.open_tasks import OpenTasks
from bigcp3d.schedule.running.serial import Done, Failed, Failures
from bigcp3d.schedule.running.tasks import Key, Task
from bigcp3d.work.passes.passes import Counts, perform
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.run.run import Run

RETRIES = 2
"""How often Dask tries a task again that raised an error, on any worker."""

Final = InputError | FullDiskError
"""Errors that every further try would raise again. A task sends them back as its answer, so that Dask does not try."""

Answer = Counts | Final
"""What a task sends back."""

MOST_OPEN = 20_000
"""How many tasks the scheduler may know. A fraction of them can run, so this is enough for thousands of workers."""

FEW_PER_GPU = 4
"""How many predictions the scheduler may know for each GPU that a worker offers. Dask gives such tasks to workers at
once, and a task that four workers lost counts as failed, even if it never ran."""

PAUSE_S, MANY_SENT = 0.1, 2_000
"""The pause after a batch of results while this many tasks are sent: fewer messages, and no worker waits for tasks."""

ASK_S = 5.0
"""After this time, it is asked again how many GPUs there are."""

REGISTRATIONS = 4
"""How often the run is put on the workers, if one of them leaves meanwhile."""

NOT_DONE = ("error", "cancelled")
"""States of a future without an answer."""


class RunPlugin(WorkerPlugin):
    """Holds the run on a worker, and the network if the worker may predict."""

    def __init__(self, plan_json: str, name: str, gpus_only: bool) -> None:
        self.plan_json = plan_json
        self.name = name
        self.gpus_only = gpus_only

    def setup(self, worker: Worker) -> None:
        """Dask calls this when the plugin reaches a worker, and when a worker starts."""
        self.run = Run(Plan.model_validate_json(self.plan_json))
        self.run.log.open()
        if self.run.plan.given.maps is None and (not self.gpus_only or "GPU" in worker.state.total_resources):
            _ = self.run.network

    def teardown(self, worker: Worker) -> None:
        """Dask calls this when the run ends."""
        self.run.log.close()


def perform_on_worker(plugin: str, key: Key) -> Answer:
    """Run one task on this worker."""
    name, time, index = key
    held: Any = get_worker().plugins[plugin]
    try:
        return perform(held.run, name, time, index)  # type: ignore[arg-type]
    except (InputError, FullDiskError) as error:
        return error


def key_of(task: Task, run_id: str) -> str:
    """The task's key on the scheduler. The dashboard groups tasks by its first part, the pass."""
    name, time, index = task.key
    return "-".join([name, run_id, str(time), *map(str, index)])


def resources_of(name: str, gpus: bool) -> dict[str, float] | None:
    """What a task of a pass asks of its worker: to predict a GPU, if there are any; else nothing."""
    return {"GPU": 1} if gpus and name == "predict" else None


@contextmanager
def run_on_workers(client: Client, plan: Plan, *, gpus: bool = False) -> Iterator[tuple[str, bool]]:
    """Put the run on all workers while the context lasts; yields the plugin's name, and whether there are GPUs.

    ``gpus`` says that workers with GPUs will start, if a queue has not started them yet.
    """
    run_id = f"r0{secrets.token_hex(4)}"
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    gpus = gpus or any("GPU" in worker.get("resources", {}) for worker in workers)
    name = f"bigcp3d-{run_id}"
    _put_on_workers(client, RunPlugin(plan.model_dump_json(), name, gpus), name)
    try:
        yield name, gpus
    finally:
        # A cluster that was started for the run ends with its plugins, which its last tasks may still need.
        # A lost scheduler is no error here: the run raises its own.
        with suppress(OSError, CancelledError):
            if client.status == "running" and client.cluster is None:
                client.unregister_worker_plugin(name)


def _put_on_workers(client: Client, plugin: RunPlugin, name: str) -> None:
    """Register the plugin; again where a worker left at that moment. Raises a `BlockError` if the scheduler is gone."""
    for _ in range(REGISTRATIONS):
        try:
            client.register_plugin(plugin, name=name)
            return
        except CommClosedError:
            time.sleep(0.5)
            _refuse_lost_scheduler(client)
    _refuse_lost_scheduler(client, seen=True)


def execute_on_dask(
    client: Client, plugin: str, gpus: bool, tasks: Iterable[Task], on_done: Done, on_failed: Failed
) -> Failures:
    """Run the tasks, report each as it finishes, and return the errors of the tasks that failed themselves.

    Dask gets the tasks that can run, and forgets them as they end; it knows `MOST_OPEN` at most. They are submitted,
    and their results fetched, in batches, so that one message serves many tasks.
    """
    run_id = plugin.rpartition("-")[2]
    waiting = OpenTasks(tasks, MOST_OPEN)
    failed: Failures = {}
    with _finishing(client) as finishing:
        sent: dict[str, Task] = {}
        for_gpus = WaitingForGpus(client, gpus)

        def send() -> None:
            for batch in for_gpus.hold_back(_by_pass(waiting.take())):
                keys = [key_of(task, run_id) for task in batch]
                sent.update(zip(keys, batch, strict=True))
                finishing.update(
                    client.map(
                        perform_on_worker,
                        [plugin] * len(batch),
                        [task.key for task in batch],
                        key=keys,
                        priority=batch[0].priority,
                        retries=RETRIES,
                        resources=resources_of(batch[0].key[0], gpus),
                    )
                )

        send()
        for finished in finishing.batches():
            _refuse_lost_scheduler(client)
            for key, answer in _fetch(client, list(finished)):
                task = sent.pop(key)
                for_gpus.end(task)
                if isinstance(answer, BaseException):
                    failed[task.key] = answer
                    on_failed(task, answer)
                else:
                    on_done(task, answer)
                waiting.end(task.key, failed=task.key in failed)
            for future in finished:
                future.release()
            send()
            if len(sent) > MANY_SENT:
                time.sleep(PAUSE_S)
        _refuse_lost_scheduler(client)
    return failed


class WaitingForGpus:
    """Holds predictions back until a GPU will soon be free, `FEW_PER_GPU` for each; without ``gpus`` it holds none."""

    def __init__(self, client: Client, gpus: bool) -> None:
        self._client, self._gpus = client, gpus
        self._held: deque[Task] = deque()
        self._sent = 0
        self._room, self._asked = 0, -math.inf

    def hold_back(self, batches: list[list[Task]]) -> list[list[Task]]:
        """The batches that are sent now."""
        if not self._gpus:
            return batches
        others = []
        for batch in batches:
            if self._needs_gpu(batch[0]):
                self._held.extend(batch)
            else:
                others.append(batch)
        few = [self._held.popleft() for _ in range(min(len(self._held), max(0, self._most() - self._sent)))]
        self._sent += len(few)
        return [*others, few] if few else others

    def end(self, task: Task) -> None:
        """Say that a task has ended."""
        if self._needs_gpu(task):
            self._sent -= 1

    def _needs_gpu(self, task: Task) -> bool:
        return resources_of(task.key[0], self._gpus) is not None

    def _most(self) -> int:
        """How many may be sent: asked again after seconds, since workers come and go."""
        if (now := time.monotonic()) > self._asked + ASK_S:
            workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
            places = sum(worker.get("resources", {}).get("GPU", 0) for worker in workers)
            self._room, self._asked = max(FEW_PER_GPU, int(FEW_PER_GPU * places)), now
        return self._room


@contextmanager
def _finishing(client: Client) -> Iterator[Any]:
    """Gives futures as they finish. Dask would wait for ever if its scheduler is lost, so a thread watches for that."""
    finishing, over = as_completed(loop=client.loop), threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            if client.status != "running":
                finishing.clear()  # ends the loop over its batches

    watcher = threading.Thread(target=watch, name="bigcp3d-scheduler", daemon=True)
    watcher.start()
    try:
        yield finishing
    finally:
        over.set()
        watcher.join()


def _fetch(client: Client, finished: list[Future[Answer]]) -> Iterator[tuple[str, Answer | BaseException]]:
    """The answer, or the error, of each task that has finished, by its key."""
    bad: dict[Any, Future[Answer]] = {future.key: future for future in finished if future.status in NOT_DONE}
    good = [future for future in finished if future.key not in bad]
    answers = _gather(client, good, errors="skip")  # waits for tasks whose worker was lost meanwhile
    if len(answers) < len(good):  # some ran again and failed
        bad |= {future.key: future for future in good if future.status in NOT_DONE}
        good = [future for future in good if future.key not in bad]
        answers = _gather(client, good)
    yield from zip((future.key for future in good), answers, strict=True)
    if bad:
        _refuse_lost_scheduler(client)
    for key, future in bad.items():
        yield key, _explain(future.exception()) or RuntimeError(f"task {key} was {future.status}")


def _gather(client: Client, futures: list[Future[Answer]], errors: str = "raise") -> list[Answer]:
    try:
        return list(client.gather(futures, errors=errors))
    except (CommClosedError, CancelledError):
        _refuse_lost_scheduler(client, seen=True)
        raise


def _refuse_lost_scheduler(client: Client, *, seen: bool = False) -> None:
    """Raise a `BlockError` if the scheduler is gone. Its unfinished tasks are then cancelled, but have not failed."""
    if seen or client.status != "running":
        logging.getLogger("distributed.client").setLevel(
            logging.CRITICAL
        )  # it would log each failed attempt to connect
        address = client._start_arg if isinstance(client._start_arg, str) else "of this run"
        raise BlockError(
            f"the connection to the Dask scheduler {address} was lost. Finished blocks are kept, and the same command "
            "continues from there. If you started scheduler and workers yourself, start them again first"
        )


def _explain(error: BaseException | None) -> BaseException | None:
    """An error of Dask in words for the user; other errors as they are."""
    if not isinstance(error, KilledWorker):
        return error
    return RuntimeError(
        f"workers were lost {error.allowed_failures + 1} times while they ran it (last {error.last_worker.address}). "
        "The usual cause is too little memory: give a smaller --block, a larger --memory-limit, or fewer --workers. "
        "The logs in the work directory say what each worker was doing"
    )


def _by_pass(tasks: Iterable[Task]) -> list[list[Task]]:
    """Tasks grouped by pass, the latest first."""
    ordered = sorted(tasks, key=lambda task: -task.priority)
    return [list(batch) for _, batch in itertools.groupby(ordered, key=lambda task: task.key[0])]
