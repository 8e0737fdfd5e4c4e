"""``bigcp3d demo``: all steps once, on a simulated tissue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from bigcp3d.face import options as o
from bigcp3d.face.commands.evaluate import show
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.pure.choices import Stain


def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for all files of the demo.")] = Path(
        "bigcp3d-demo"
    ),
    check: Annotated[
        bool, o.option("--check", text="Segment again, serially and in one block, and compare bit for bit.")
    ] = False,
    shape: Annotated[
        tuple[int, int, int], o.option("--shape", metavar="Z Y X", text="Size of the simulated tissue in voxels.")
    ] = (64, 176, 176),
    stain: Annotated[
        Stain, o.option("--stain", metavar="|".join(get_args(Stain)), text="What is stained, and which model is used.")
    ] = "membrane",
    workers: Annotated[int, o.option("--workers", metavar="N", text="Worker processes.")] = 2,
    seed: o.Seed = 0,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
) -> None:
    """Simulate a tissue, segment it in blocks on a local Dask cluster, compare with the truth, and draw it.

    Needs no data and no download. Takes a minute or two on two cores.
    """
    set_up_logging(verbose, quiet)
    from bigcp3d.face.commands.run_demo import run_demo

    scores = run_demo(
        folder, shape=shape, stain=stain, seed=seed, workers=workers, check=check, quiet=quiet, say=typer.echo
    )
    show(scores)
