"""Keeps a cluster at its size: starts jobs again that have ended.

A queue ends jobs at their time limit or for jobs of others, or it loses a machine. Dask submits a new job once the old
one is removed here.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from distributed import SpecCluster
from distributed.deploy.adaptive import Adaptive

GRACE_S = 15.0
"""A worker that has been gone this long does not come back."""


class AdaptiveWithRestarts(Adaptive):
    """Dask's adaptive scaling, extended to equal limits and to jobs of several workers."""

    cluster: SpecCluster

    def __init__(self, *args: Any, grace_s: float = GRACE_S, **more: Any) -> None:
        self.grace_s = grace_s
        self.seen: dict[Any, float] = {}
        super().__init__(*args, **more)

    async def recommendations(self, target: int) -> dict[str, Any]:
        """What to start and to stop. First removes jobs whose workers came and are all gone."""
        for name in self._ended(monotonic()):
            await self.cluster.workers.pop(name).close()
            del self.seen[name]
        result: dict[str, Any] = await super().recommendations(target)  # starts planned jobs that are not there
        return result

    def _ended(self, now: float) -> list[Any]:
        """Jobs that had a worker, but have none since ``grace_s``."""
        ended = []
        for name, spec in self.cluster.worker_spec.items():
            members = {f"{name}{suffix}" for suffix in spec["group"]} if "group" in spec else {name}
            if members & self.observed:
                self.seen[name] = now
            elif name in self.cluster.workers and now - self.seen.get(name, now) > self.grace_s:
                ended.append(name)
        return ended
