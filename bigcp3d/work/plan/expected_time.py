"""How long the tasks of a plan are expected to take, before anything runs.

The network decides: a patch takes about the same time everywhere, so one patch tells. Its time is measured when a run
begins (`bigcp3d.work.run.measure_patch`). Before that it is guessed from the number of operations. The other passes
take little, and their figures are those of one machine (`tests/benchmarks`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from bigcp3d.pure.boxes import Box
from bigcp3d.work.plan.plan import Plan

SECONDS_PER_VOX = {
    "merge": 40e-9, "track": 130e-9, "cluster": 15e-9, "check": 100e-9,
    "vote": 60e-9, "label": 30e-9, "pyramid": 130e-9,
}  # fmt: skip
"""Seconds of one core for each voxel of a pass; two cores of an AMD EPYC."""

ONCE_SECONDS = {"normalise": 0.3, "join": 0.1, "resolve": 0.1}
"""Passes that run once for a time point. `resolve` grows with the cells, but never to more than a few percent."""

START_SECONDS = {"serial": 4.0, "dask": 12.0}
"""Imports, and the start of worker processes."""

SPEED = {"float32": 0.9, "bfloat16": 1.6}
"""Operations of the network in a second, for each operation of a product of small float32 matrices."""


def count_patches(plan: Plan) -> int:
    """Patches of the network in all time points; those of a region are counted by their share of the volume."""
    if not plan.predicts:
        return 0
    share = plan.scope.mapped.size / Box.of_shape(plan.shape).size
    return math.ceil(len(plan.patches.cores) * share) * len(plan.where.times)


def guess_patch_seconds(plan: Plan, operations_per_second: float) -> float | None:
    """Seconds of a core for one patch; None for a network whose operations are not known."""
    card = plan.prediction.card
    if card is None or card.operations_per_vox is None:
        return None
    operations = card.operations_per_vox * math.prod(plan.prediction.patch)
    return operations / (operations_per_second * SPEED[plan.prediction.precision])


def expect_seconds(plan: Plan, patch_seconds: float | None) -> dict[str, float]:
    """Seconds that one worker needs for all tasks of each pass; without ``predict`` if a patch's time is not known."""
    scope, levels, times = plan.scope, plan.output.target.levels, len(plan.where.times)
    voxels = {"track": scope.tracked.size, "cluster": scope.clustered.size, "label": scope.wanted.size}
    if plan.patch_blocks.hand_over and plan.predicts:
        voxels["merge"] = scope.mapped.size
    if plan.checks_flow:
        voxels["check"] = scope.tracked.size
    if plan.votes:
        voxels["vote"] = scope.wanted.size
    if len(levels) > 1:
        voxels["pyramid"] = sum(math.prod(level.shape) for level in levels[1:])
    seconds = {name: SECONDS_PER_VOX[name] * size * times for name, size in voxels.items()}
    seconds |= {n: s * times for n, s in ONCE_SECONDS.items() if n != "join" or plan.joins_first}
    if plan.predicts and patch_seconds is not None:
        seconds["predict"] = count_patches(plan) * patch_seconds / plan.running.threads
    return seconds


def wall_seconds(plan: Plan, seconds: Mapping[str, float]) -> float:
    """Wall time of a run from the seconds of its passes, if all workers are like the one that was measured."""
    return START_SECONDS[plan.running.executor] + sum(seconds.values()) / (plan.running.workers or 1)
