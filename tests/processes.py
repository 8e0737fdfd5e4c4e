"""Processes that start at once, as forks of one that has imported everything; for tests that kill them or need several.

They do not see what a test changes in the environment. Where there are no forks, each is a new Python.
"""

from __future__ import annotations

import multiprocessing
from contextlib import AbstractContextManager

import dask.config

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
PROCESSES = multiprocessing.get_context(METHOD)
PROCESSES.set_forkserver_preload(
    ["bigcp3d.schedule.segment", "bigcp3d.schedule.clusters.local", "bigcp3d.work.train.train"]
)


def quick_workers() -> AbstractContextManager[object]:
    """While it is entered, Dask workers of this process are such processes."""
    if METHOD == "forkserver":
        from multiprocessing.forkserver import ensure_running

        ensure_running()  # before Dask asks it to import less
    return dask.config.set({"distributed.worker.multiprocessing-method": METHOD})
