"""Applies a function to all blocks of labels, in this process or on Dask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from bigcp3d.pure.boxes import Vec3
from bigcp3d.schedule.clusters.requested_machines import Machines
from bigcp3d.schedule.planning.link_request import LinkRequest
from bigcp3d.schedule.planning.measure_request import MeasureRequest
from bigcp3d.work.analyse.measure import Measurement

T = TypeVar("T")


class Compute(Protocol):
    """Applies a function to all blocks of a time point; yields the results in any order."""

    def __call__(self, function: Callable[[Measurement, int, Vec3], T], time: int, /) -> Iterator[T]:
        """Apply it."""


def machines_of(request: MeasureRequest | LinkRequest) -> Machines | None:
    """Where the blocks are computed; None for this process."""
    if request.workers is None and request.scheduler is None:
        return None
    return Machines(request.scheduler, workers=request.workers, memory_limit=request.memory_limit)


@contextmanager
def over_blocks(what: Measurement, machines: Machines | None) -> Iterator[Compute]:
    """Yield a `Compute` that works on a cluster, or in this process if ``machines`` is None."""
    if machines is None:
        yield lambda function, time: (function(what, time, index) for index in what.grid)
        return
    from distributed import as_completed

    from bigcp3d.schedule.clusters.connect import connect

    machines.check()
    with connect(machines) as client:
        shared = client.scatter(what, broadcast=True, hash=False)

        def compute(function: Callable[[Measurement, int, Vec3], T], time: int) -> Iterator[T]:
            blocks = list(what.grid)
            count = len(blocks)
            futures = client.map(function, [shared] * count, [time] * count, blocks, pure=False)
            for future in as_completed(futures, loop=client.loop):
                yield future.result()
                future.release()

        yield compute
