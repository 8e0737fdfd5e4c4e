"""``bigcp3d estimate-diameter``: prints an estimate of the cell diameter, and the command that uses it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import typer

from bigcp3d.edge.stores.platforms import join_words
from bigcp3d.face import options as o
from bigcp3d.face.commands.convert import image_of
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.pure.plural import count
from bigcp3d.schedule.planning.request import ESTIMATED_FROM, Request

if TYPE_CHECKING:
    from bigcp3d.work.analyse.estimate_diameter import DiameterTrial, Estimate

log = logging.getLogger(__name__)


@o.with_options(o.choose_settings(Request, only=ESTIMATED_FROM))
def estimate_diameter(arguments: o.Arguments, verbose: o.Verbose = False, quiet: o.Quiet = False) -> None:
    """Estimate the cell diameter of IN.zarr, on a few crops of it.

    Several diameters are tried. At one of them the predicted flow fits the cells best. The median diameter of the cells
    found there is the estimate. This takes about a minute, however large the volume is. Without --model, membrane and
    nuclei are tried. If one of them is clearly better, it is named; otherwise the command stops and lists both. The
    estimate is a first guess: check the result in a viewer.
    """
    set_up_logging(verbose, quiet, usual=logging.INFO)
    from bigcp3d.schedule.estimate import estimate_diameter as run

    arguments["source"] = image_of(Request(**arguments), quiet)
    found = run(**arguments, on_event=_tell)
    typer.echo(describe_estimate(found, arguments["source"]))


def _tell(trial: DiameterTrial) -> None:
    """Log one diameter that was tried."""
    log.info("%s, flow error %.2f", trial, trial.flow_error)


def describe_estimate(found: Estimate, source: str) -> str:
    """The estimate, its spread, its doubts, and the command that uses it."""
    unit, option = ("micrometres", "--diameter") if found.in_um else ("voxels", "--diameter-voxels")
    spread = f"10 to 90 % of {count(found.cells, 'cell')}: {found.low:.3g} to {found.high:.3g}"
    lines = [f"about {found.diameter:.3g} {unit} ({spread})", *(f"doubtful: {doubt}" for doubt in found.doubts)]
    if found.chosen:
        lines.append(f"model {found.model}: {found.chosen}")
    command = ["bigcp3d", "segment", source, "--model", found.model, option, f"{found.diameter:.3g}"]
    return "\n".join([*lines, join_words(command)])
