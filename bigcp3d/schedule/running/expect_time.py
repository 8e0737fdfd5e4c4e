"""Says how long a run will take: from this processor's speed when it is planned, from a measured patch as it begins."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bigcp3d.schedule.clusters.this_machine import device_here, operations_per_second
from bigcp3d.schedule.running.events import TimeExpected
from bigcp3d.work.plan.expected_time import count_patches, expect_seconds, guess_patch_seconds, wall_seconds
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.run.run import Run

if TYPE_CHECKING:
    from distributed import Client

LEAST_PATCHES = 40
"""A run of fewer patches is over soon, and does not measure one first."""

PATIENCE_S = 60.0
"""A worker that has not answered after this is not waited for."""

log = logging.getLogger(__name__)


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
