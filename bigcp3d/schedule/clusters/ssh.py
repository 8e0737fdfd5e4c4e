"""Starts a cluster over SSH: a scheduler on one machine and workers on all, at the host names of the file."""

from __future__ import annotations

from itertools import product
from typing import Any

from distributed import Security, SpecCluster
from distributed.deploy.ssh import Scheduler, Worker

from bigcp3d.errors import InputError
from bigcp3d.schedule.clusters.config import SshConfig
from bigcp3d.schedule.clusters.this_machine import require


def start_over_ssh(config: SshConfig, security: Security | None) -> SpecCluster:
    """Start scheduler and workers with this process's configuration of Dask, including TLS."""
    require("asyncssh", "ssh")
    protocol = "tls://" if security else "tcp://"
    place = {"connect_options": connect_options(config), "remote_python": config.python}
    listen = {"protocol": protocol, "port": 0, "dashboard_address": "127.0.0.1:0"}
    host = config.scheduler or config.hosts[0]
    scheduler = {"cls": Scheduler, "options": {**place, "address": host, "kwargs": {"host": host, **listen}}}
    workers = {
        name: {"cls": Worker, "options": {**place, "address": options["host"], "kwargs": options}}
        for name, options in worker_options(config, protocol).items()
    }
    try:
        return SpecCluster(workers, scheduler, name="ssh", security=security)
    except Exception as error:  # asyncssh and Dask raise many kinds of errors
        gpu_hosts = config.gpu.hosts if config.gpu else ()
        hosts = sorted({host, *config.hosts, *gpu_hosts})
        text = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"no cluster could be started over SSH on {', '.join(hosts)}: {text}; check that `ssh HOST "
            f"{config.python or 'python'} -m distributed.cli.dask_spec --help` works from here without a password"
        ) from error


def connect_options(config: SshConfig) -> dict[str, Any]:
    """Options of asyncssh to log in; the rest is as in ``~/.ssh``."""
    options = {
        "port": config.port,
        "username": config.user,
        "client_keys": None if config.key is None else [str(config.key.expanduser())],
        "known_hosts": None if config.known_hosts is None else str(config.known_hosts.expanduser()),
    }
    return {name: value for name, value in options.items() if value is not None}


def worker_options(config: SshConfig, protocol: str) -> dict[str, dict[str, Any]]:
    """Options of every worker, by name: first the workers that see one GPU, then those that see none."""
    common: dict[str, Any] = {"protocol": protocol}
    if config.local_directory:
        common["local_directory"] = config.local_directory
    workers: dict[str, dict[str, Any]] = {}
    if (gpu := config.gpu) is not None:
        own = {"memory_limit": int(gpu.memory), "nthreads": gpu.threads, "resources": {"GPU": gpu.threads}}
        for host, number in product(gpu.hosts, range(gpu.gpus_per_host)):
            seen = {"env": {"CUDA_VISIBLE_DEVICES": str(number)}}
            workers[f"{host}-gpu{number}"] = {**common, **own, **seen, "host": host}
    hidden = {"env": {"CUDA_VISIBLE_DEVICES": ""}} if config.gpu else {}
    for host, number in product(config.hosts, range(config.workers_per_host)):
        own = {"memory_limit": int(config.memory), "nthreads": 1}
        workers[f"{host}-{number}"] = {**common, **own, **hidden, "host": host}
    return {name: {**options, "name": name} for name, options in workers.items()}
