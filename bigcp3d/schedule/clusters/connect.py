"""Connects to a running Dask scheduler, or starts a cluster and closes it at the end."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Security

from bigcp3d.errors import InputError
from bigcp3d.schedule.clusters.config import QueueConfig, SshConfig
from bigcp3d.schedule.clusters.dask_lines import dask_lines_to, log_handler
from bigcp3d.schedule.clusters.requested_machines import Machines
from bigcp3d.schedule.clusters.this_machine import WORKER_ENVIRONMENT, visible_gpus
from bigcp3d.schedule.clusters.tls import as_dask_settings, load_security

logger = logging.getLogger(__name__)

LOST_WORKERS = 20
"""A task fails after it has lost this many workers. On a queue, workers leave for other reasons than the task."""

PATIENCE = "1 day"
"""How long Dask waits for a dead worker, which its nanny restarts. Dask's 15 s are too short on a busy machine."""


@contextmanager
def connect(machines: Machines, *, gpu_threads: int = 0, logs: Path | None = None) -> Iterator[Client]:
    """A client of the given scheduler, or of a cluster that is started now; raises an `InputError` if that fails.

    ``gpu_threads`` tasks share a GPU of this machine; 0 if no task uses a GPU. What Dask says in this process, and in
    workers of this machine, goes into the folder ``logs``, or nowhere if that is None.
    """
    security = load_security(machines.tls)
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask_lines_to(log_handler(logs)))
        if machines.scheduler is not None:
            yield stack.enter_context(_client_of(machines.scheduler, security))
            return
        stack.enter_context(dask.config.set(dask_settings(machines, security)))
        cluster = stack.enter_context(_start(machines, gpu_threads, security, logs))
        client = stack.enter_context(Client(cluster, security=security, set_as_default=False))
        _wait_for_one(client, machines.cluster)
        yield client


def dask_settings(machines: Machines, security: Security | None) -> dict[str, Any]:
    """Dask's configuration for a cluster that is started here. Processes over SSH inherit it."""
    environ = {**dask.config.get("distributed.nanny.pre-spawn-environ"), **WORKER_ENVIRONMENT}
    settings = {"distributed.nanny.pre-spawn-environ": environ, **as_dask_settings(security)}
    if machines.cluster == "local":
        settings["distributed.deploy.lost-worker-timeout"] = PATIENCE
    else:
        settings["distributed.scheduler.allowed-failures"] = LOST_WORKERS
    return settings


def _start(machines: Machines, gpu_threads: int, security: Security | None, logs: Path | None = None) -> Any:
    """Start the cluster. Only the package of its kind is imported."""
    config = machines.config
    if isinstance(config, QueueConfig):
        from bigcp3d.schedule.clusters.jobs import start_jobs

        return start_jobs(machines.cluster, config, machines.size, security)
    if isinstance(config, SshConfig):
        from bigcp3d.schedule.clusters.ssh import start_over_ssh

        return start_over_ssh(config, security)
    from bigcp3d.schedule.clusters.local import LocalWorkers

    gpus = visible_gpus() if gpu_threads else []
    try:
        return LocalWorkers(machines.size, machines.limit_bytes, gpus, gpu_threads, security, logs)
    except RuntimeError as error:  # each worker runs the user's script, which would start another run
        raise InputError(
            f"no worker process started ({error}); a script that calls bigcp3d needs the line "
            '`if __name__ == "__main__":`, or give executor="serial"'
        ) from error


def _client_of(address: str, security: Security | None) -> Client:
    scheme = address.partition("://")[0] if "://" in address else None
    if security is not None and scheme not in (None, "tls"):
        raise InputError(f"--tls was given with the scheduler {address}; with TLS its address is tls://host:port")
    if security is None and scheme == "tls":
        raise InputError(f"the scheduler {address} speaks TLS; give --tls DIR with ca.pem, cert.pem and key.pem")
    where = f"tls://{address}" if security is not None and scheme is None else address
    try:
        return Client(where, timeout="20s", set_as_default=False, security=security)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address!r}; give the address that `dask scheduler` prints, such as "
            "tcp://host:8786, or leave --scheduler out for a cluster on this machine"
            + ("; also check that ca.pem belongs to the authority that signed its certificate" if security else "")
        ) from error


def _wait_for_one(client: Client, kind: str) -> None:
    """Wait for the first worker, and warn each minute: the queue may be long, or the job may have failed."""
    for minutes in itertools.count(1):
        try:
            return client.wait_for_workers(1, timeout=60)
        except TimeoutError:
            text = "no worker of cluster %s has started for %d min; look at the queue, and at the output of its jobs"
            logger.warning(text, kind, minutes)
