"""Plans a segmentation, with every check that needs no voxels. Imports nothing that computes, so it answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bigcp3d.option import takes
from bigcp3d.schedule.check_table import check_run_table
from bigcp3d.schedule.complete_request import complete_request
from bigcp3d.schedule.planning.few_planes import warn_of_few_working_planes
from bigcp3d.schedule.planning.find_image import with_known_image
from bigcp3d.schedule.planning.make_plan import check_memory, make_plan
from bigcp3d.schedule.planning.request import Request
from bigcp3d.schedule.running.events import Observer
from bigcp3d.schedule.running.lock import locks_of, refuse_if_held
from bigcp3d.schedule.running.start import check_places, check_start, has_ended, read_ended
from bigcp3d.work.plan.plan import Plan


@takes(Request)
def plan_segmentation(source: str | Path, *, on_event: Observer | None = None, **arguments: Any) -> Plan:
    """Plan a segmentation without running it. `describe_plan` shows its blocks, halos, memory and disk space.

    Parameters
    ----------
    **arguments
    on_event : callable, optional
        Receives what is estimated, where the diameter or the model is left open.

    Returns
    -------
    Plan

    Raises
    ------
    InputError, ModelError, TargetError
        As `segment` raises them before it starts.

    Examples
    --------
    >>> plan = bigcp3d.plan_segmentation("tissue.zarr", model="nuclei", diameter_um=14.0, block=(24, 32, 32))
    >>> plan.shape, plan.execution.block
    ((24, 64, 64), (24, 32, 32))
    """
    return plan_and_check(with_known_image(Request(source, **arguments)), on_event)


def plan_and_check(request: Request, observe: Observer | None) -> Plan:
    """Make the plan, and every check that needs no voxels. What the user left open is estimated."""

    def check_early(sketch: Plan) -> None:
        refuse_if_held(locks_of(sketch))
        if not has_ended(sketch):
            check_places(sketch, overwrite=request.overwrite)
            check_run_table(sketch, request)

    plan = make_plan(*complete_request(request, observe, check_early))
    check_plan(plan, request)
    return plan


def check_plan(plan: Plan, request: Request) -> None:
    """Every check of a plan that needs no voxels: memory, locks, places, and the table."""
    warn_of_few_working_planes(plan)
    if request.scheduler is None:
        check_memory(plan, request.machines.limit_bytes)
    refuse_if_held(locks_of(plan))
    check_start(plan, overwrite=request.overwrite, again=request.start == "image")
    if (ended := read_ended(plan)) is None or not ended.told:
        check_run_table(plan, request)
