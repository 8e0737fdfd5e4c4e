"""``bigcp3d segment``: plans a segmentation or runs it, and shows its progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bigcp3d.face import options as o
from bigcp3d.face.commands.all_images import AllImages, for_each_image, one_of_many, refuse_single, write_one_table
from bigcp3d.face.commands.convert import image_of
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.pure.plural import count
from bigcp3d.schedule.planning.request import Request

if TYPE_CHECKING:
    from bigcp3d.schedule.measure import MeasuredCells
    from bigcp3d.schedule.running.events import Observer


@o.with_options(o.choose_settings(Request))
def segment(
    arguments: o.Arguments,
    dry_run: o.DryRun = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
    json: o.Json = False,
    no_report: o.NoReport = False,
    all_images: AllImages = False,
) -> None:
    """Segment every cell of IN.zarr into OME-Zarr labels. Other formats are first converted to OME-Zarr, once.

    The volume is cut into blocks. The labels are the same, voxel for voxel, as from a run on the whole volume in one
    piece. To continue an interrupted run, give the same command again.
    """
    set_up_logging(verbose, quiet)
    arguments["table"] = chosen_table(arguments)

    def run(arguments: o.Arguments) -> None:
        if dry_run:
            print_plan(arguments, json=json, quiet=quiet)
        else:
            _segment(arguments, quiet=quiet, json=json, no_report=no_report)

    if all_images:
        segment_all(arguments, run, quiet=quiet, dry_run=dry_run, json=json)
    else:
        run(arguments)


def chosen_table(arguments: o.Arguments) -> str | None:
    """The table that the user wants: without a word the file beside the store, if all stores are on this machine."""
    from bigcp3d.edge.stores.places import is_address
    from bigcp3d.schedule.check_table import BESIDE

    stores = [arguments["source"], arguments["output"] or ""]
    default = None if any(map(is_address, stores)) else BESIDE
    return {None: default, "none": None}.get(arguments["table"], arguments["table"])


def segment_all(
    arguments: o.Arguments, run: Callable[[o.Arguments], None], *, quiet: bool, dry_run: bool, json: bool
) -> None:
    """Segment every image; then measure all cells into one table, if the user wants one.

    An image whose labels are there already, made with the same settings, is not segmented again. With --overwrite, that
    goes for labels that the same command made before it was stopped.
    """
    from bigcp3d.schedule.check_table import check_output, in_file
    from bigcp3d.schedule.segmented_before import replacing_all, segmented_before

    table = arguments["table"]
    single = {"mask": "--mask", "maps": "--maps", "work_dir": "--work-dir"}
    refuse_single([flag for name, flag in single.items() if arguments[name] is not None])
    if in_file(table):
        check_output(table, lambda: Path(table), overwrite=arguments["overwrite"])
        arguments = {**arguments, "table": None}
    done = dict[str, str]()

    def each(image: str, name: str) -> None:
        own = {**arguments, "source": image, "output": one_of_many(arguments["output"], name)}
        if segmented_before(Request(**own), since):
            typer.echo(f"{image}: labels {arguments['name']} exist already, made with these settings", err=True)
        else:
            run(own)
        done[name or image] = own["output"] or image

    def write() -> None:
        if in_file(table) and done and not dry_run:
            cells = {name: _measure(Request(**arguments), store) for name, store in done.items()}
            typer.echo(write_one_table(cells, str(table)), err=json)

    remember = arguments["overwrite"] and not dry_run
    with replacing_all(Request(**arguments)) if remember else nullcontext("") as since:
        for_each_image(arguments["source"], quiet, each, then=write, with_labels=False)


def _measure(request: Request, store: str) -> MeasuredCells:
    """Measure labels on the machines that the user asked for, or else in this process."""
    from bigcp3d.schedule.measure import measure_on
    from bigcp3d.schedule.planning.measure_request import MeasureRequest

    return measure_on(request.machines if request.asks_for_workers else None, MeasureRequest(store, request.name))


def _segment(arguments: o.Arguments, *, quiet: bool, json: bool, no_report: bool) -> None:
    """Segment one image, and tell how it went."""
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
        if summary.table is not None:
            typer.echo(f"table: {summary.table}")
        if writer.path is not None:
            typer.echo(f"report: {writer.path}")
    for piece in summary.lost:
        typer.echo(f"could not be read, and is background: {piece}", err=True)
    if more := summary.lost_chunks - len(summary.lost):
        typer.echo(f"{count(more, 'more chunk')} could not be read", err=True)


def print_plan(arguments: o.Arguments, *, json: bool, quiet: bool) -> None:
    """Plan a segmentation, and print the plan."""
    from bigcp3d.face.describe_plan import describe_plan
    from bigcp3d.face.progress.progress import watching
    from bigcp3d.schedule.plan_segmentation import plan_segmentation
    from bigcp3d.schedule.running.events import RunPlanned, Warned
    from bigcp3d.schedule.running.start import warn_of_storage

    with events_as_lines() if json else watching(quiet) as tell:
        plan = plan_segmentation(**arguments, on_event=tell)
        if json and tell is not None:
            tell(RunPlanned(plan))
        else:
            typer.echo(describe_plan(plan))
        for warning in warn_of_storage(plan):
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
