"""``bigcp3d link``: joins cells over time, and prints a summary in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.face.taken_labels import tell_labels
from bigcp3d.pure.plural import count
from bigcp3d.schedule.planning.link_request import LinkRequest

if TYPE_CHECKING:
    from bigcp3d.schedule.link import Lineage


@o.with_options(o.choose_settings(LinkRequest))
def link(arguments: o.Arguments, verbose: o.Verbose = False, quiet: o.Quiet = False) -> None:
    """Join the cells of neighbouring time points into tracks.

    Writes the lineage as GEFF, STORE/tracks/NAME.geff. For each cell, the motion of the cells near it says where to
    expect it at the next time point. A link depends on the distance from this place, and on the voxels that both cells
    share. Links do not depend on the blocks. Needs `pip install 'bigcp3d[lineage]'`.
    """
    set_up_logging(verbose, quiet)
    from bigcp3d.face.progress.block_bar import block_bar
    from bigcp3d.schedule.link import link as run

    tell_labels(arguments["store"], arguments["name"], quiet=quiet)
    with block_bar("reading the labels", quiet) as move_bar:
        lineage = run(**arguments, on_event=move_bar)
    typer.echo(describe_lineage(lineage))


def describe_lineage(lineage: Lineage) -> str:
    """Cells, time points, tracks and divisions in a line."""
    cells = lineage.cells
    return (
        f"{lineage.path}: {count(len(cells), 'cell')} at {cells.what.labels.times} time points, "
        f"{count(lineage.tracks, 'track')}, {count(lineage.divisions, 'division')}"
    )
