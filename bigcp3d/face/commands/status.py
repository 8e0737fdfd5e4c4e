"""``bigcp3d status``: shows how far a run is, on any machine that can read its work directory."""

from __future__ import annotations

import json as to_json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.pure.plural import count

if TYPE_CHECKING:
    from bigcp3d.face.progress.pace import Pace
    from bigcp3d.schedule.running.status import RunStatus


def status(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="The work directory of the run, the path of its labels, or the store that holds them."
        ),
    ],
    json: Annotated[bool, o.option("--json", text="Print one JSON object for each run.")] = False,
    verbose: o.Verbose = False,
) -> None:
    """Show how far a run is: blocks done, speed, time left, failed blocks, and whether it still runs.

    After the run has ended, this command describes the labels. It only reads, so it never disturbs the run.
    """
    set_up_logging(verbose, quiet=False)
    from bigcp3d.schedule.running.status import find_finished, find_runs, find_updates, read_status

    runs, updates = find_runs(run), find_updates(run)
    for work_dir in runs:
        found = read_status(work_dir)
        typer.echo(to_json.dumps(status_fields(found)) if json else describe_status(found))
    for line in updates:
        typer.echo(to_json.dumps({"state": "updating", "message": line}) if json else line)
    for made in [] if runs or updates else find_finished(run):
        line = f"{made.labels}: finished; {made}"
        typer.echo(to_json.dumps({"state": "finished", **asdict(made)}) if json else line)


def paces(found: RunStatus) -> dict[str, Pace]:
    """The pace of each pass: what is done, and the speed since the process that runs it began."""
    from bigcp3d.face.progress.pace import Pace
    from bigcp3d.schedule.running.events import BlockDone

    workers, all_of = set[str](), {each.name: Pace(each.tasks, each.voxels) for each in found.passes}
    for task in found.done:
        pace, seconds = all_of[task.name], 0.0
        if task.began >= found.since:
            seconds = task.seconds
            workers.add(task.worker)
        event = BlockDone(task.name, task.index, task.voxels, seconds, pace.done + 1, pace.total)
        pace.count(event, task.began + task.seconds)
    for pace in all_of.values():
        pace.workers = max(1, len(workers))
    return all_of


def describe_status(found: RunStatus) -> str:
    """A run in a few lines."""
    who = f": {found.holder}" if found.holder else ""
    carry = "; the same command continues it" if found.state == "stopped" else ""
    lines = [
        f"{found.labels}: {found.state}{who if found.state == 'running' else carry}",
        f"  work in {found.work_dir}",
    ]
    for name, pace in paces(found).items():
        detail = pace.describe() if found.state == "running" else ""
        lines.append(f"  {name:<9} {pace.done}/{count(pace.total, 'block')}" + (f", {detail}" if detail else ""))
    lines += [f"  failed: {line}" for line in found.failed[:20]]
    if more := len(found.failed[20:]) + found.more_failed:
        lines.append(f"  and {more} more failed")
    return "\n".join(lines)


def status_fields(found: RunStatus) -> dict[str, Any]:
    """A run as JSON: speeds in voxels per second, times in seconds, null where not known."""
    fields = {name: value for name, value in vars(found).items() if name != "done"}
    passes = paces(found).items()
    fields["passes"] = [{"name": name, "done": p.done, "total": p.total, **p.as_json()} for name, p in passes]
    return fields
