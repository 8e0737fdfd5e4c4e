"""Starts the cluster on this machine: worker processes on loopback, at most one GPU for each.

::

    worker 0   CUDA_VISIBLE_DEVICES=0   offers GPU   predicts, and takes other passes
    worker 1   CUDA_VISIBLE_DEVICES=1   offers GPU
    worker 2   CUDA_VISIBLE_DEVICES=    offers none  takes the other passes; torch sees no GPU there

`distributed.LocalCluster` gives all workers the same settings, so its parts are put together here. dask-cuda needs CUDA
packages and has no workers without a GPU.
"""

from __future__ import annotations

import logging
import socket
import warnings
from collections.abc import Sequence
from typing import Any

from distributed import Nanny, Scheduler, Security, SpecCluster

from bigcp3d.schedule.clusters.keeper import Keeper
from bigcp3d.schedule.clusters.size import Size

LOOPBACK = "127.0.0.1"


class LocalWorkers(SpecCluster):
    """Worker processes of this machine, each with ``memory_limit`` bytes.

    Each of ``gpus`` (as ``CUDA_VISIBLE_DEVICES`` names it) goes to one worker, of ``gpu_threads`` tasks at a time.
    """

    def __init__(
        self, size: Size, memory_limit: int, gpus: Sequence[str], gpu_threads: int, security: Security | None
    ) -> None:
        self.gpus, self.gpu_threads = tuple(gpus), gpu_threads
        shared = {"host": LOOPBACK, "protocol": "tls://" if security else "tcp://", "security": security}
        self.common = {**shared, "memory_limit": memory_limit, "silence_logs": logging.WARNING}
        dashboard = {"dashboard": True, "dashboard_address": f"{LOOPBACK}:{_dashboard_port()}"}
        self.worker_spec: dict[Any, Any] = {}
        for number in range(size.least):
            self.worker_spec[number] = self._next_spec()
        with warnings.catch_warnings():  # another run may take the port between our check and Dask's
            warnings.filterwarnings("ignore", message="Port 8787 is already in use")
            super().__init__(  # type: ignore[no-untyped-call]
                scheduler={"cls": Scheduler, "options": {**shared, "port": 0, **dashboard}},
                workers=self.worker_spec,
                worker={"cls": Nanny, "options": self.common},
                security=security,
                silence_logs=logging.WARNING,
            )
        if size.adaptive:
            self.adapt(Adaptive=Keeper, minimum=size.least, maximum=size.most)

    def _next_spec(self) -> dict[str, Any]:
        """A worker with the first GPU that no other has; without one where all are taken."""
        taken = {spec["options"].get("env", {}).get("CUDA_VISIBLE_DEVICES") for spec in self.worker_spec.values()}
        free = [gpu for gpu in self.gpus if gpu not in taken]
        on_gpu = {"nthreads": self.gpu_threads, "resources": {"GPU": self.gpu_threads}}
        own = on_gpu if free else {"nthreads": 1}
        env = {"env": {"CUDA_VISIBLE_DEVICES": free[0] if free else ""}} if self.gpus else {}
        return {"cls": Nanny, "options": {**self.common, **own, **env}}

    def new_worker_spec(self) -> dict[Any, Any]:
        """Name and settings of the next worker; Dask asks when it scales up."""
        named = super().new_worker_spec()  # type: ignore[no-untyped-call]
        return {name: self._next_spec() for name in named}


def _dashboard_port() -> int:
    """8787 where it is free, else any."""
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, 8787))
        except OSError:
            return 0
    return 8787
