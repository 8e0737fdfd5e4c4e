"""``bigcp3d update``: segments a region of existing labels again, in place."""

from __future__ import annotations

import typer

from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.schedule.planning.request import UpdateRequest

ONLY_OF_SEGMENT = (
    *("diameter_vox", "labels_level", "overwrite", "keep_maps", "table", "cluster", "cluster_config"),
    *("tls", "work_dir", "on_error", "missing_chunks"),
)


@o.with_options(o.choose_settings(UpdateRequest, without=ONLY_OF_SEGMENT))
def update(arguments: o.Arguments, verbose: o.Verbose = False, quiet: o.Quiet = False) -> None:
    """Segment a region of existing labels again, with other settings or after a correction by hand.

    Cells inside the region are found again and replace those that were there. Cells that its border cuts, and all cells
    outside, stay as they are. Give the settings of the first run, and change only those that should differ. A cell that
    shares more than half of its voxels with an earlier one keeps its id.
    """
    set_up_logging(verbose, quiet)
    from bigcp3d.face.progress.progress import watching
    from bigcp3d.face.report.write import path_of
    from bigcp3d.schedule.update import update as run

    with watching(quiet) as observer:
        done = run(**arguments, on_event=observer)
    if (report := path_of(str(done.labels))).exists():
        typer.echo(f"{report} shows the earlier labels; to renew it: bigcp3d report {done.labels}", err=True)
    if arguments["edited"]:
        typer.echo(f"{done.labels}: the coarser levels of the region are made again")
        return
    typer.echo(
        f"{done.labels}: {done.came} cells found in the region, {done.same} of them unchanged; {done.gone} cells gone, "
        f"{done.stayed} at its border left as they were"
    )
