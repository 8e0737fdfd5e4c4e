"""``bigcp3d segment``: plans a segmentation or runs it, and shows its progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import typer

from bigcp3d.face import options as o
from bigcp3d.face.commands.convert import image_of
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.schedule.planning.request import Request

if TYPE_CHECKING:
    from bigcp3d.schedule.running.events import Observer


@o.with_options(o.choose_settings(Request))
def segment(
    arguments: o.Arguments,
    dry_run: o.DryRun = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
    json: o.Json = False,
    no_report: o.NoReport = False,
) -> None:
    """Segment every cell of IN.zarr into OME-Zarr labels. Other formats are converted beside the file first, once.

    The labels are those of the whole volume, bit for bit, whatever the blocks and workers. To carry on an interrupted
    run, give the same command again.
    """
    set_up_logging(verbose, quiet)
    if dry_run:
        print_plan(arguments, json=json, quiet=quiet)
        return
    from bigcp3d.face.progress.progress import describe_summary, watching
    from bigcp3d.face.report.write import ReportWriter
    from bigcp3d.schedule.segment import segment as run

    with events_as_lines() if json else nullcontext():
        arguments["source"] = image_of(Request(**arguments), quiet)
    with events_as_lines() if json else watching(quiet) as observer:
        writer = ReportWriter(observer)
        summary = run(**arguments, on_event=observer if no_report else writer)
    if not json:
        typer.echo(describe_summary(summary))
        if writer.path is not None:
            typer.echo(f"report: {writer.path}")
    for piece in summary.lost:
        typer.echo(f"could not be read, and is background: {piece}", err=True)


def print_plan(arguments: o.Arguments, *, json: bool, quiet: bool) -> None:
    """Plan a segmentation, and print the plan."""
    from bigcp3d.face.describe_plan import describe_plan
    from bigcp3d.face.progress.progress import watching
    from bigcp3d.schedule.plan_segmentation import plan_segmentation
    from bigcp3d.schedule.running.events import RunPlanned, Warned
    from bigcp3d.schedule.running.start import warn_of_disks

    with events_as_lines() if json else watching(quiet) as tell:
        plan = plan_segmentation(**arguments, on_event=tell)
        if json and tell is not None:
            tell(RunPlanned(plan))
        else:
            typer.echo(describe_plan(plan))
        for warning in warn_of_disks(plan):
            if tell is not None:
                tell(Warned(warning))


@contextmanager
def events_as_lines() -> Iterator[Observer]:
    """An observer that writes JSON lines to stdout. An error that ends the run is the last line."""
    from bigcp3d.face.progress.event_lines import EventLines

    lines = EventLines()
    try:
        yield lines
    except (Exception, KeyboardInterrupt) as error:  # a bug too; its traceback goes to stderr
        lines.write_error(error)
        raise
