"""Measures how long the network takes for one patch on this worker, so that a run can say how long it will take."""

from __future__ import annotations

import time as clock

from bigcp3d.work.run.run import Run

SLOW_S = 2.0
"""A network that takes longer for its first patch is not measured twice."""


def measure_patch(run: Run) -> float:
    """Seconds for one patch of noise. The first one warms up, so a fast network computes two."""
    import torch

    from bigcp3d.pure.predict.run_network import run_network

    noise = torch.rand((run.batch, len(run.plan.source.channels), *run.plan.prediction.patch))
    for _ in range(2):
        start = clock.perf_counter()
        run_network(run.network, noise).cpu()  # from a GPU, this waits for the answer
        seconds = clock.perf_counter() - start
        if seconds > SLOW_S:
            break
    return seconds / run.batch
