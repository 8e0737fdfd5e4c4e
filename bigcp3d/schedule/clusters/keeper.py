"""Holding a cluster at its size: workers that leave are never a failure, and jobs that ended are started again.

A queue ends jobs at their time limit, takes them back for others, or loses a machine. What such a worker was doing goes
to another; here its job is given up, so that Dask asks for a new one.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from distributed import SpecCluster
from distributed.deploy.adaptive import Adaptive

GRACE_S = 15.0
"""A worker that is gone for so long is not coming back."""


class Keeper(Adaptive):
    """Dask's adaptive scaling, also where its two limits are equal, and for jobs of several workers."""

    cluster: SpecCluster

    def __init__(self, *args: Any, grace_s: float = GRACE_S, **more: Any) -> None:
        self.grace_s = grace_s
        self.seen: dict[Any, float] = {}
        super().__init__(*args, **more)

    async def recommendations(self, target: int) -> dict[str, Any]:
        """What to start and to stop; after jobs were given up whose workers came and are all gone."""
        for name in self._ended(monotonic()):
            await self.cluster.workers.pop(name).close()
            del self.seen[name]
        result: dict[str, Any] = await super().recommendations(target)  # starts what is planned and not there
        return result

    def _ended(self, now: float) -> list[Any]:
        """Jobs that had a worker, and have had none for a while."""
        ended = []
        for name, spec in self.cluster.worker_spec.items():
            members = {f"{name}{suffix}" for suffix in spec["group"]} if "group" in spec else {name}
            if members & self.observed:
                self.seen[name] = now
            elif name in self.cluster.workers and now - self.seen.get(name, now) > self.grace_s:
                ended.append(name)
        return ended
