"""The machines that a user asks for. Wrong or contradictory settings are refused before anything starts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bigcp3d.errors import InputError
from bigcp3d.schedule.clusters.config import KINDS, ClusterConfig, SshConfig, read_config
from bigcp3d.schedule.clusters.tls import find_files
from bigcp3d.work.cores_and_memory import default_workers, memory_per_worker

ADDRESS = re.compile(r"\w+://\S+|[^\s:/]+:\d+")
"""The address of a scheduler. Dask would take other words for a host name, and wait."""

FEWEST_BYTES = 2**20
"""A memory limit below this lacks its unit."""


@dataclass(frozen=True)
class Size:
    """The smallest and the largest number of workers of a cluster."""

    least: int
    most: int

    @property
    def adaptive(self) -> bool:
        """Whether workers come and go with the work."""
        return self.least != self.most


def parse_size(asked: int | str) -> Size:
    """Read ``--workers``: ``4``, or ``"1:8"`` for 1 to 8 as there is work. Raises an `InputError` for other words."""
    parts = str(asked).split(":")
    if len(parts) <= 2 and all(part.strip().isdecimal() for part in parts):
        least, most = int(parts[0]), int(parts[-1])
        if 1 <= least <= most:
            return Size(least, most)
    raise InputError(f"workers is {asked!r}; use a positive number such as 4, or MIN:MAX such as 1:8")


@dataclass(frozen=True)
class Machines:
    """Where tasks run. The fields are arguments of `bigcp3d.segment`, which `Request` describes."""

    scheduler: str | None = None
    cluster: str = "local"
    cluster_config: str | Path | None = None
    workers: int | str | None = None
    tls: str | Path | None = None
    memory_limit: str | int | None = None

    def check(self) -> None:
        """Raise an `InputError` for settings that are wrong or contradict each other."""
        if self.scheduler is not None and not ADDRESS.fullmatch(self.scheduler):
            raise InputError(f"scheduler is {self.scheduler!r}; give its address, such as tcp://host:8786")
        if self.cluster not in KINDS:
            raise InputError(
                f"cluster is {self.cluster!r}; use one of {', '.join(KINDS)}; elsewhere, such as on Kubernetes, "
                "start a Dask cluster yourself and give its address: --scheduler tcp://HOST:8786"
            )
        if self.scheduler is not None and (self.cluster != "local" or self.cluster_config is not None):
            raise InputError(
                "--scheduler and --cluster were both given; leave out --cluster to use the running scheduler"
            )
        if self.cluster == "local" and self.cluster_config is not None:
            raise InputError(f"--cluster-config {self.cluster_config} was given without --cluster; give both")
        if self.cluster != "local" and self.memory_limit is not None:
            raise InputError(f"--memory-limit is for workers of this machine; write memory into {self.cluster_config}")
        if self.tls is not None:
            find_files(self.tls)
        _ = self.size, self.limit_bytes

    @cached_property
    def config(self) -> ClusterConfig | None:
        """The cluster's file; None for a cluster on this machine, or for a running scheduler."""
        return None if self.cluster == "local" else read_config(self.cluster, self.cluster_config)

    @cached_property
    def size(self) -> Size:
        """Workers of a cluster that is started, without those of section ``gpu`` of its file."""
        if isinstance(self.config, SshConfig):
            if self.workers is not None:
                raise InputError(
                    f"--workers is {self.workers}; over SSH, the number is set by workers_per_host in "
                    f"{self.cluster_config}; leave --workers out"
                )
            return parse_size(len(self.config.hosts) * self.config.workers_per_host)
        if self.workers is not None:
            size = parse_size(self.workers)
        elif self.config is None:
            size = parse_size(default_workers())
        else:
            raise InputError(f"cluster {self.cluster} needs --workers N, or MIN:MAX for as many as there is work for")
        if self.promises_gpus and size.adaptive:
            raise InputError(
                f"--workers {self.workers} is a range, but {self.cluster_config} has workers with GPUs, which a "
                "range would stop while they wait; give one number"
            )
        return size

    @property
    def promises_gpus(self) -> bool:
        """Whether workers with GPUs will start, though none may be there yet."""
        return self.config is not None and self.config.gpu is not None

    @cached_property
    def limit_bytes(self) -> int:
        """Memory that a task may take: that of the smallest worker."""
        if self.config is not None:
            gpu = self.config.gpu
            return min([int(self.config.memory)] + ([int(gpu.memory) // gpu.threads] if gpu else []))
        if self.memory_limit is None:
            return memory_per_worker(self.size.most)
        from dask.utils import parse_bytes

        try:
            limit = int(parse_bytes(self.memory_limit))
        except ValueError as error:
            raise InputError(f"memory limit is {self.memory_limit!r}; write it like 4GiB or 3.5GB") from error
        if limit < FEWEST_BYTES:
            raise InputError(f"memory limit is {self.memory_limit!r}; give more, with a unit, like 4GiB or 3.5GB")
        return limit
