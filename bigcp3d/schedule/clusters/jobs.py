"""Starts clusters on SLURM, LSF or PBS: dask-jobqueue submits jobs of one or more workers.

The scheduler runs in this process, on the network interface that the file names. Jobs with GPUs belong to the same
cluster and offer the resource ``GPU``.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

from distributed import Security, SpecCluster, Status

from bigcp3d.errors import InputError
from bigcp3d.schedule.clusters.config import QueueConfig, QueueGpu
from bigcp3d.schedule.clusters.requested_machines import Size
from bigcp3d.schedule.clusters.restart_ended_jobs import AdaptiveWithRestarts
from bigcp3d.schedule.clusters.this_machine import WORKER_ENVIRONMENT, require, require_command

CLASS_AND_COMMAND = {"slurm": ("SLURMCluster", "sbatch"), "lsf": ("LSFCluster", "bsub"), "pbs": ("PBSCluster", "qsub")}
"""Class in dask-jobqueue, and the command that submits a job."""

EXPORTS = [f"export {name}={value}" for name, value in WORKER_ENVIRONMENT.items()]
PRIVATE = ["--dashboard-address", "127.0.0.1:0"]
"""Only this machine sees a worker's HTTP server. With ``--no-dashboard`` it would listen on all interfaces."""

LEAVE_BEFORE_S = 120
"""A worker hands over its work and ends this long before its job's time limit."""


def start_jobs(kind: str, config: QueueConfig, size: Size, security: Security | None) -> SpecCluster:
    """Start a scheduler here and submit the first jobs; raises an `InputError` if the queue refuses them."""
    require("dask_jobqueue", kind)
    class_name, command = CLASS_AND_COMMAND[kind]
    require_command(command, kind)
    cls = getattr(importlib.import_module("dask_jobqueue"), class_name)
    interface = config.scheduler_interface or config.interface
    _check_interface(interface)
    cluster: SpecCluster = cls(
        scheduler_options={"interface": interface, "dashboard_address": "127.0.0.1:0", "port": 0},
        security=security,
        **job_options(kind, config),
    )
    try:
        jobs = -(-size.least // config.workers_per_job)
        if config.gpu is not None:
            options = {**cluster.new_spec["options"], **gpu_options(kind, config, config.gpu)}
            for number in range(config.gpu.workers):
                cluster.worker_spec[f"gpu-{number}"] = {"cls": cluster.new_spec["cls"], "options": dict(options)}
        for _ in range(jobs):
            cluster.worker_spec.update(cluster.new_worker_spec())
        cluster.sync(_start, cluster)
    except RuntimeError as error:
        for job in cluster.workers.values():
            if job.status == Status.created:  # Dask asserts that no job is left in this state
                job.status = Status.failed
        cluster.close()
        raise InputError(
            f"the queue refused the job: {' '.join(str(error).split())}; correct the file of --cluster-config"
        ) from error
    keep(cluster, config, size)
    return cluster


def _check_interface(interface: str) -> None:
    """Raise an `InputError` if this machine, where the scheduler runs, does not have the interface."""
    import psutil

    known = sorted(psutil.net_if_addrs())
    if interface not in known:
        raise InputError(
            f"this machine has no interface {interface!r}, only {', '.join(known)}; set scheduler_interface to the "
            "one that the nodes can reach (or interface, if it has the same name on the nodes)"
        )


async def _start(cluster: SpecCluster) -> None:
    """Submit the jobs. This raises the errors of the queue, which ``scale`` would only log."""
    await cluster


def keep(cluster: SpecCluster, config: QueueConfig, size: Size) -> None:
    """Keep the number of workers, including those with GPUs: jobs that end are submitted again."""
    gpus = config.gpu.workers if config.gpu else 0
    whole = [-(-number // config.workers_per_job) * config.workers_per_job + gpus for number in (size.least, size.most)]
    cluster.adapt(Adaptive=AdaptiveWithRestarts, minimum=whole[0], maximum=whole[1])


def job_options(kind: str, config: QueueConfig) -> dict[str, Any]:
    """What a job asks of its queue, as options of dask-jobqueue."""
    workers = config.workers_per_job
    options: dict[str, Any] = {
        "cores": workers,
        "processes": workers,
        "memory": f"{workers * int(config.memory)}B",
        "interface": config.interface,
        "queue": config.queue,
        "walltime": config.walltime,
        ("project" if kind == "lsf" else "account"): config.account,
        "python": config.python,
        "local_directory": config.local_directory,
        "log_directory": config.log_directory,
        "job_name": "bigcp3d",
        "job_extra_directives": list(config.directives),
        "job_directives_skip": list(config.skip_directives),
        "job_script_prologue": [*EXPORTS, *config.prologue],
        "worker_extra_args": [*PRIVATE, *_lifetime(kind, config.walltime)],
    }
    return {name: value for name, value in options.items() if value is not None}


def gpu_options(kind: str, config: QueueConfig, gpu: QueueGpu) -> dict[str, Any]:
    """The options that differ for a job with a GPU, which has one worker."""
    walltime = gpu.walltime or config.walltime
    options: dict[str, Any] = {
        "cores": gpu.threads,
        "processes": 1,
        "memory": f"{int(gpu.memory)}B",
        "queue": gpu.queue or config.queue,
        "walltime": walltime,
        "job_name": "bigcp3d-gpu",
        "job_extra_directives": [*config.directives, *gpu.directives],
        "job_script_prologue": [*EXPORTS, *(config.prologue if gpu.prologue is None else gpu.prologue)],
        "worker_extra_args": [*PRIVATE, *_lifetime(kind, walltime), "--resources", f"GPU={gpu.threads}"],
    }
    return {name: value for name, value in options.items() if value is not None}


def _lifetime(kind: str, walltime: str | None) -> list[str]:
    """End the worker before the queue ends the job, if the time limit is known and long enough."""
    seconds = walltime_seconds(kind, walltime) if walltime else None
    if seconds is None or seconds < 5 * LEAVE_BEFORE_S:
        return []
    return ["--lifetime", f"{seconds - LEAVE_BEFORE_S}s", "--lifetime-stagger", "30s"]


def walltime_seconds(kind: str, walltime: str) -> int | None:
    """Seconds of ``HH:MM`` for LSF, and of ``HH:MM:SS`` or ``D-HH:MM:SS`` for the others; else None."""
    found = re.fullmatch(r"(\d+):(\d\d)" if kind == "lsf" else r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", walltime)
    if found is None:
        return None
    days, hours, minutes, seconds = (0, *found.groups(), 0) if kind == "lsf" else found.groups()
    return ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds)
