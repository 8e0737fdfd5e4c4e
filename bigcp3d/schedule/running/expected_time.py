"""How long a run is expected to take: from this processor's speed when it is planned, from a patch as it begins.

The network decides: a patch takes about the same time everywhere, so one patch tells. Its time is measured when a run
begins (`bigcp3d.work.run.measure_patch`). Before that it is guessed from the number of operations. The other passes
take little, and their figures are those of one machine (`tests/benchmarks`).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bigcp3d.schedule.clusters.this_machine import device_here, operations_per_second
from bigcp3d.schedule.running.events import TimeExpected
from bigcp3d.schedule.running.tasks import count_passes, label_passes, object_passes
from bigcp3d.work.plan.pass_blocks import count_patches
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.run.run import Run

if TYPE_CHECKING:
    from distributed import Client

SECONDS_PER_VOX = {
    "merge": 40e-9, "track": 130e-9, "cluster": 15e-9, "stitch": 10e-9, "check": 100e-9,
    "label": 40e-9, "pyramid": 130e-9,
}  # fmt: skip
"""Seconds of one core for each voxel of a pass; two cores of an AMD EPYC. `stitch`: 10 us for a cell of 1000 voxels.
If the image is resampled, `track` takes 10e-9 more for each voxel of the labels, which is not counted."""

SECONDS_PER_TASK = {"normalise": 0.3, "join": 0.1, "gather": 0.1, "filter": 1.2, "resolve": 0.1}
"""Seconds of one core for a task of the other passes. `resolve` grows with the cells, but stays below a few percent."""

START_SECONDS = {"serial": 4.0, "dask": 12.0}
"""Imports, and the start of worker processes."""

SPEED = {"float32": 0.9, "bfloat16": 1.6, "int8": 1.5}
"""Operations of the network in a second, for each operation of a product of small float32 matrices."""

LEAST_PATCHES = 40
"""A run of fewer patches is over soon, and does not measure one first."""

PATIENCE_S = 60.0
"""A worker that has not answered after this is not waited for."""

log = logging.getLogger(__name__)


def guess_patch_seconds(plan: Plan, operations_per_second: float) -> float | None:
    """Seconds of a core for one patch; None for a network whose operations are not known."""
    card = plan.prediction.card
    if card is None or card.operations_per_vox is None:
        return None
    operations = card.operations_per_vox * math.prod(plan.prediction.patch)
    return operations / (operations_per_second * SPEED[plan.prediction.precision])


def expect_seconds(plan: Plan, patch_seconds: float | None) -> dict[str, float]:
    """Seconds that one worker needs for all tasks of each pass; without ``predict`` if a patch's time is not known."""
    seconds = {
        name: SECONDS_PER_TASK.get(name, 0.0) * tasks + SECONDS_PER_VOX.get(name, 0.0) * voxels
        for name, (tasks, voxels) in count_passes([*object_passes(plan), *label_passes(plan)]).items()
        if name != "predict"
    }
    if plan.predicts and patch_seconds is not None:
        seconds["predict"] = count_patches(plan) * patch_seconds / plan.running.threads
    return seconds


def wall_seconds(plan: Plan, seconds: Mapping[str, float]) -> float:
    """Wall time of a run from the seconds of its passes, if all workers are like the one that was measured."""
    return START_SECONDS[plan.running.executor] + sum(seconds.values()) / (plan.running.workers or 1)


def expect_from_plan(plan: Plan) -> dict[str, float]:
    """Seconds of one worker for each pass, guessed within a tenth of a second; without ``predict`` if it is unknown."""
    guessed = guess_patch_seconds(plan, operations_per_second()) if plan.predicts and device_here() == "cpu" else None
    return expect_seconds(plan, guessed)


def worth_measuring(plan: Plan, *, resumed: bool) -> bool:
    """Whether a run begins with the measurement of a patch."""
    return not resumed and count_patches(plan) >= LEAST_PATCHES * plan.running.threads


def measured_time(plan: Plan, patch_seconds: float) -> TimeExpected:
    """The event that says how long the run will take."""
    seconds = expect_seconds(plan, patch_seconds)
    return TimeExpected(wall_seconds(plan, seconds), seconds, patch_seconds, count_patches(plan))


def measure_here(run: Run) -> float | None:
    """Seconds for a patch in this process; None if it fails, as then the tasks say why."""
    from bigcp3d.work.run.measure_patch import measure_patch

    try:
        return measure_patch(run)
    except Exception:
        log.debug("no patch could be measured", exc_info=True)
        return None


def measure_on_dask(client: Client, plugin: str, gpus: bool) -> float | None:
    """Seconds for a patch on one worker that may predict; None if it fails or takes too long."""
    from bigcp3d.schedule.running.distribute import resources_of

    asked = client.submit(_measure_on_worker, plugin, pure=False, resources=resources_of("predict", gpus))
    try:
        return asked.result(timeout=PATIENCE_S)
    except Exception:
        log.debug("no patch could be measured", exc_info=True)
        asked.cancel()
        return None


def _measure_on_worker(plugin: str) -> float | None:
    from distributed import get_worker

    return measure_here(get_worker().plugins[plugin].run)  # type: ignore[attr-defined]
