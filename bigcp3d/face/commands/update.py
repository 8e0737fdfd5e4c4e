"""``bigcp3d update``: makes a region of labels again in place, by `bigcp3d.update`."""

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
    """Change labels in a region: with other settings there, or after a correction by hand. All other ids stay.

    Cells that lie inside the region are found anew and replace those that were there; cells that its border cuts stay
    as they are. Give the settings of the first run, and change only those that should differ. A cell that shares more
    than half with an earlier one keeps its id.
    """
    set_up_logging(verbose, quiet)
    from bigcp3d.face.progress.progress import watching
    from bigcp3d.face.report.write import path_of
    from bigcp3d.schedule.update import update as run

    with watching(quiet) as observer:
        done = run(**arguments, on_event=observer)
    if (report := path_of(str(done.labels))).exists():
        typer.echo(f"{report} shows the labels before; renew it: bigcp3d report {done.labels}", err=True)
    if arguments["edited"]:
        typer.echo(f"{done.labels}: coarser levels made again in the region")
        return
    typer.echo(
        f"{done.labels}: {done.came} cells found in the region, {done.same} of them as they were; {done.gone} gone, "
        f"{done.stayed} left alone at its border"
    )
