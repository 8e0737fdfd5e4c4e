"""Keeps Dask's own lines off the terminal: they go to the log of the run, or nowhere where there is no run.

Dask logs every failed task with its traceback, workers that end slowly, and connections that close. A user can do
nothing about these lines, and bigcp3d says in its own words what matters of them.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path

from distributed import Worker, WorkerPlugin

from bigcp3d.work.run.task_log import TaskLog

LOGGERS = ("distributed", "distributed.client", "distributed.gc", "bokeh", "tornado", "tornado.application", "asyncio")
"""Loggers to which Dask gives a handler for stderr, and asyncio's, whose lines Python itself would show there."""

Handlers = list[tuple[logging.Logger, logging.Handler]]


def log_handler(folder: Path | None) -> logging.Handler:
    """Writes into the logs of a run, or drops all where there is no run."""
    return logging.NullHandler() if folder is None else TaskLog(folder)


@contextmanager
def dask_lines_to(handler: logging.Handler) -> Iterator[None]:
    """Give Dask's lines in this process to ``handler`` instead of the terminal while the context lasts.

    After Ctrl-C they stay there, since a second Ctrl-C may leave threads of Dask that still end workers.
    """
    taken = _take_over(handler)
    try:
        yield
    except Exception:
        _give_back(handler, taken)
        raise
    else:
        _give_back(handler, taken)


def _take_over(handler: logging.Handler) -> Handlers:
    """Replace the handlers that write to a terminal; returns them."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    taken: Handlers = [(each, old) for each in loggers for old in each.handlers if type(old) is logging.StreamHandler]
    for each, old in taken:
        each.removeHandler(old)
    for each in loggers:
        each.addHandler(handler)
    return taken


def _give_back(handler: logging.Handler, taken: Handlers) -> None:
    for name in LOGGERS:
        logging.getLogger(name).removeHandler(handler)
    for each, old in taken:
        each.addHandler(old)


class QuietWorker(WorkerPlugin):
    """Gives the lines of Dask and Python's warnings in a worker process of this machine to a log, until it ends."""

    name = "bigcp3d-quiet"

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def setup(self, worker: Worker) -> None:
        """Dask calls this when the worker starts."""
        handler = log_handler(self.folder)
        _take_over(handler)
        logging.captureWarnings(True)
        logging.getLogger("py.warnings").addHandler(handler)


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Threads that start in this context, and their processes, do not see Ctrl-C; the main thread sees it after.

    A terminal sends Ctrl-C to all processes. Workers would each show a traceback, while the main process ends them.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # when it starts, it lets the calling thread see Ctrl-C again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
