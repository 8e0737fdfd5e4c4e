"""Says in a few words how a run goes, in this process or on workers, and how long it will take."""

from __future__ import annotations

from collections.abc import Mapping

from bigcp3d.face.progress.pace import format_time
from bigcp3d.pure.plural import count
from bigcp3d.schedule.running.expected_time import wall_seconds
from bigcp3d.work.plan.plan import Plan


def describe_way(plan: Plan) -> str:
    """Where the tasks run: in this process, or on workers."""
    running = plan.running
    if running.executor == "serial":
        threads = f", the network on {running.threads} threads" if running.threads > 1 else ""
        return f"in this process{threads} (--workers N starts worker processes)"
    workers = "the workers that it has" if running.workers is None else count(running.workers, "worker")
    return f"on Dask, {workers}"


def describe_time(plan: Plan, seconds: Mapping[str, float]) -> str:
    """How long the run will take, from the seconds of each pass on one worker."""
    if plan.predicts and "predict" not in seconds:
        return "not known before a patch is measured"
    wall = format_time(wall_seconds(plan, seconds))
    each = "" if plan.running.workers == 1 else ", if its workers are as fast as a core of this machine"
    return f"about {wall}{each}"
