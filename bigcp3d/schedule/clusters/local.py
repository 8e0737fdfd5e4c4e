"""Starts a cluster on this machine: worker processes, each with at most one GPU.

::

    worker 0   CUDA_VISIBLE_DEVICES=0   offers GPU    runs all passes
    worker 1   CUDA_VISIBLE_DEVICES=1   offers GPU
    worker 2   CUDA_VISIBLE_DEVICES=    offers none   does not predict

`distributed.LocalCluster` gives all workers the same settings, and dask-cuda has no workers without a GPU. So the
cluster is built here from Dask's parts.
"""

from __future__ import annotations

import logging
import socket
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distributed import Nanny, Scheduler, Security, SpecCluster

from bigcp3d.schedule.clusters.dask_lines import QuietWorker, without_ctrl_c
from bigcp3d.schedule.clusters.requested_machines import Size
from bigcp3d.schedule.clusters.restart_ended_jobs import AdaptiveWithRestarts

LOOPBACK = "127.0.0.1"


class LocalWorkers(SpecCluster):
    """Worker processes of this machine, each with ``memory_limit`` bytes.

    Each of ``gpus`` (by its name in ``CUDA_VISIBLE_DEVICES``) goes to a worker that runs ``gpu_threads`` tasks at once.
    What Dask says in the workers goes into the folder ``logs``.
    """

    def __init__(
        self,
        size: Size,
        memory_limit: int,
        gpus: Sequence[str],
        gpu_threads: int,
        security: Security | None,
        logs: Path | None = None,
    ) -> None:
        self.gpus, self.gpu_threads = tuple(gpus), gpu_threads
        shared = {"host": LOOPBACK, "protocol": "tls://" if security else "tcp://", "security": security}
        self.common = {
            **shared,
            "memory_limit": memory_limit,
            "silence_logs": logging.WARNING,
            "plugins": (QuietWorker(logs),),
        }
        dashboard = {"dashboard": True, "dashboard_address": f"{LOOPBACK}:{_dashboard_port()}"}
        self.worker_spec: dict[Any, Any] = {}
        for number in range(size.least):
            self.worker_spec[number] = self._next_spec()
        with without_ctrl_c(), warnings.catch_warnings():  # another run may take the port after our check
            warnings.filterwarnings("ignore", message="Port 8787 is already in use")
            super().__init__(  # type: ignore[no-untyped-call]
                scheduler={"cls": Scheduler, "options": {**shared, "port": 0, **dashboard}},
                workers=self.worker_spec,
                worker={"cls": Nanny, "options": self.common},
                security=security,
                silence_logs=logging.WARNING,
            )
        if size.adaptive:
            self.adapt(Adaptive=AdaptiveWithRestarts, minimum=size.least, maximum=size.most)

    def _next_spec(self) -> dict[str, Any]:
        """A worker with the first free GPU, or without a GPU if none is free."""
        taken = {spec["options"].get("env", {}).get("CUDA_VISIBLE_DEVICES") for spec in self.worker_spec.values()}
        free = [gpu for gpu in self.gpus if gpu not in taken]
        on_gpu = {"nthreads": self.gpu_threads, "resources": {"GPU": self.gpu_threads}}
        own = on_gpu if free else {"nthreads": 1}
        env = {"env": {"CUDA_VISIBLE_DEVICES": free[0] if free else ""}} if self.gpus else {}
        return {"cls": Nanny, "options": {**self.common, **own, **env}}

    def new_worker_spec(self) -> dict[Any, Any]:
        """Name and settings of the next worker. Dask calls this when it scales up."""
        named = super().new_worker_spec()  # type: ignore[no-untyped-call]
        return {name: self._next_spec() for name in named}


def _dashboard_port() -> int:
    """8787 if it is free, else 0 (any)."""
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, 8787))
        except OSError:
            return 0
    return 8787
