"""``bigcp3d segment``: the way from the options to `bigcp3d.schedule.segment.segment`.

Nothing is decided here: what an option means, allows and defaults to is the library's affair, which checks it before
any work starts. Heavy imports are inside the functions, so that ``--help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import typer

from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging

if TYPE_CHECKING:
    from bigcp3d.schedule.running.events import Observer


def segment(
    context: typer.Context,
    source: o.Source,
    diameter: o.Diameter = None,
    diameter_voxels: o.DiameterVoxels = None,
    scale: o.Scale = None,
    model: o.Model = "membrane",
    channel: o.Channel = None,
    level: o.Level = None,
    roi: o.Roi = None,
    mask: o.Mask = None,
    time: o.Time = None,
    output: o.Output = None,
    labels_level: o.LabelsLevel = 0,
    name: o.Name = "cells",
    overwrite: o.Overwrite = False,
    keep_maps: o.KeepMaps = False,
    keep_offsets: o.KeepOffsets = False,
    table: o.Table = None,
    min_volume: o.MinVolume = None,
    max_volume: o.MaxVolume = None,
    min_foreground: o.MinForeground = None,
    max_elongation: o.MaxElongation = None,
    max_flow_error: o.MaxFlowError = None,
    foreground: o.Foreground = 0.5,
    radius: o.Radius = None,
    closing: o.Closing = None,
    maps: o.Maps = None,
    start: o.Start = "auto",
    precision: o.Precision = "auto",
    block: o.Block = None,
    workers: o.Workers = None,
    memory_limit: o.MemoryLimit = None,
    scheduler: o.Scheduler = None,
    cluster: o.Cluster = "local",
    cluster_config: o.ClusterConfig = None,
    tls: o.Tls = None,
    work_dir: o.WorkDir = None,
    serial: o.Serial = False,
    on_error: o.OnError = "fail",
    missing_chunks: o.MissingChunks = "fill",
    dry_run: o.DryRun = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
    json: o.Json = False,
    no_report: o.NoReport = False,
) -> None:
    """Segment every cell of IN.zarr into OME-Zarr labels.

    The labels are those of the whole volume, bit for bit, whatever the blocks and workers. An interrupted run is
    carried on by the same command.
    """
    set_up_logging(verbose, quiet)
    with events_as_lines() if json else nullcontext():
        o.refuse_serial_beside(serial, scheduler or workers or cluster != "local")
    run_or_plan(
        source,
        dry_run=dry_run,
        quiet=quiet,
        json=json,
        report=not no_report,
        **o.library_arguments(context.params),
    )


def run_or_plan(source: Any, *, dry_run: bool, quiet: bool, json: bool, report: bool, **settings: Any) -> None:
    """Print the plan where ``dry_run``; else run it under a progress display and print the summary."""
    from bigcp3d.face.progress.progress import describe_summary, together, watching
    from bigcp3d.face.report.write import ReportWriter
    from bigcp3d.schedule.running.events import RunPlanned
    from bigcp3d.schedule.segment import plan_segmentation
    from bigcp3d.schedule.segment import segment as run

    if dry_run:
        with events_as_lines() if json else nullcontext() as lines:
            plan = plan_segmentation(source, **settings)
            if lines is None:
                typer.echo(plan.describe())
            else:
                lines(RunPlanned(plan))
        return
    writer = ReportWriter()
    with events_as_lines() if json else watching(quiet) as observer:
        writer.then = observer
        summary = run(source, on_event=together(writer if report else None, observer), **settings)
    if not json:
        typer.echo(describe_summary(summary))
        if writer.path is not None:
            typer.echo(f"report: {writer.path}")
    for piece in summary.lost:
        typer.echo(f"could not be read, and is background: {piece}", err=True)


@contextmanager
def events_as_lines() -> Iterator[Observer]:
    """An observer that writes JSON lines to stdout; an error that ends the run is the last of them."""
    from bigcp3d.face.progress.event_lines import EventLines

    lines = EventLines()
    try:
        yield lines
    except (Exception, KeyboardInterrupt) as error:  # of a bug too: its traceback goes to stderr alone
        lines.write_error(error)
        raise
