"""``bigcp3d update``: a region of labels made again in place; see `bigcp3d.schedule.update`."""

from __future__ import annotations

from typing import Annotated

import typer

from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging

Region = Annotated[
    str,
    o.option("--roi", panel=o.IMAGE, metavar="Z0:Z1,Y0:Y1,X0:X1", text="The region, in voxels of level 0, or with um."),
]
Edited = Annotated[
    bool,
    o.option(
        "--edited",
        panel=o.RESULT,
        text="Level 0 was corrected by hand in the region: segment nothing, and make its coarser levels again.",
    ),
]


def update(
    context: typer.Context,
    source: o.Source,
    roi: Region,
    edited: Edited = False,
    diameter: o.Diameter = None,
    scale: o.Scale = None,
    model: o.Model = "membrane",
    channel: o.Channel = None,
    level: o.Level = None,
    mask: o.Mask = None,
    time: o.Time = None,
    output: o.Output = None,
    name: o.Name = "cells",
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
    serial: o.Serial = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
) -> None:
    """Change labels in a region: with other settings there, or after a correction by hand. All other ids stay.

    Cells that lie inside the region are found anew and replace those that were there; cells that its border cuts stay
    as they are. Give the settings of the first run, with those changed that shall be others. A cell that shares more
    than half with an earlier one keeps its id.
    """
    set_up_logging(verbose, quiet)
    o.refuse_serial_beside(serial, scheduler or workers)
    from bigcp3d.face.progress.progress import watching
    from bigcp3d.face.report.write import path_of
    from bigcp3d.schedule.update import update as run

    with watching(quiet) as observer:
        done = run(source, on_event=observer, **o.library_arguments(context.params))
    if (report := path_of(str(done.labels))).exists():
        typer.echo(f"{report} tells of the labels before; renew it: bigcp3d report {done.labels}", err=True)
    if edited:
        typer.echo(f"{done.labels}: coarser levels made again in the region")
        return
    typer.echo(
        f"{done.labels}: {done.came} cells found in the region, {done.same} of them as they were; {done.gone} gone, "
        f"{done.stayed} left alone at its border"
    )
