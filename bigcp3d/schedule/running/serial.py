"""The serial executor, which specifies all others: tasks run in their order, in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from bigcp3d.schedule.running.tasks import Key, Task
from bigcp3d.work.passes.passes import Counts, perform
from bigcp3d.work.run.run import Run

logger = logging.getLogger(__name__)

Done = Callable[[Task, Counts], None]
Failed = Callable[[Task, BaseException], None]
Failures = dict[Key, BaseException]
Execute = Callable[[Iterable[Task], Done, Failed], Failures]
"""Runs tasks, reports each, and returns the errors of those that failed themselves."""


def execute_serially(run: Run, tasks: Iterable[Task], on_done: Done, on_failed: Failed) -> Failures:
    """Run every task whose needs succeeded, and return the errors of the tasks that failed."""
    failures: Failures = {}
    blocked: set[Key] = set()
    for task in tasks:
        if not blocked.isdisjoint(task.needs):
            blocked.add(task.key)
            continue
        name, time, index = task.key
        try:
            counts = perform(run, name, time, index)  # type: ignore[arg-type]
        except Exception as error:
            logger.debug("%s failed", task.key, exc_info=True)
            failures[task.key] = error
            on_failed(task, error)
            blocked.add(task.key)
        else:
            on_done(task, counts)
    return failures
