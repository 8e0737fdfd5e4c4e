"""The command line: ``bigcp3d COMMAND``. Each command calls one function of the library.

``--help`` imports neither torch nor dask nor zarr (a test checks this). Results go to stdout; progress, warnings and
errors to stderr. Exit codes: `bigcp3d.face.exit_codes`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from bigcp3d.face import options as o
from bigcp3d.face.commands.all_images import AllImages, for_each_image
from bigcp3d.face.commands.convert import convert, describe_source
from bigcp3d.face.commands.edit import edit
from bigcp3d.face.commands.estimate_diameter import estimate_diameter
from bigcp3d.face.commands.evaluate import evaluate, show
from bigcp3d.face.commands.export import export
from bigcp3d.face.commands.link import link
from bigcp3d.face.commands.manual import manual
from bigcp3d.face.commands.measure import measure
from bigcp3d.face.commands.models import models
from bigcp3d.face.commands.report import report
from bigcp3d.face.commands.review import review
from bigcp3d.face.commands.segment import segment
from bigcp3d.face.commands.status import status
from bigcp3d.face.commands.sweep import sweep
from bigcp3d.face.commands.train import train
from bigcp3d.face.commands.update import update
from bigcp3d.face.commands.view import view
from bigcp3d.face.exit_codes import CommandGroup, set_up_logging
from bigcp3d.pure.choices import Stain, WrittenVersion
from bigcp3d.version import __version__

STAINS = "|".join(get_args(Stain))

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,  # a plain traceback is best in a bug report
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bigcp3d {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, o.option("--version", text="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Segment every cell of a 3D microscopy image, even if it does not fit in memory.

    bigcp3d cuts the volume into blocks. The labels are the same, voxel for voxel, as from a run on the whole volume in
    one piece. The number of worker processes does not change them either.
    """


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
        Stain, o.option("--stain", metavar=STAINS, text="What is stained, and which model is used.")
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
    from bigcp3d.face.commands.run_demo import Demo, run_demo

    plan = Demo(folder, shape=shape, stain=stain, seed=seed, workers=workers, check=check)
    show(run_demo(plan, quiet=quiet, say=typer.echo))


def simulate(
    target: Annotated[Path, typer.Argument(metavar="OUT.zarr", help="The OME-Zarr store to write.")],
    shape: Annotated[
        tuple[int, int, int], o.option("--shape", metavar="Z Y X", text="Size of the volume in voxels.")
    ] = (64, 256, 256),
    diameter_voxels: Annotated[
        float, o.option("--diameter-voxels", metavar="VOX", text="Mean cell diameter, in voxels of the finest axis.")
    ] = 24.0,
    stain: Annotated[Stain, o.option("--stain", metavar=STAINS, text="What is stained.")] = "membrane",
    scale: Annotated[
        tuple[float, float, float], o.option("--scale", metavar="Z Y X", text="Voxel size in micrometres.")
    ] = (1.0, 1.0, 1.0),
    like: Annotated[
        str | None,
        o.option(
            "--like",
            metavar="IN.zarr",
            text="An image to imitate: its brightness, noise, blur and fading are used. It must have the same voxel "
            "size. It needs no labels.",
        ),
    ] = None,
    channel: Annotated[
        str,
        o.option("--channel", metavar="N|NAME", text="Channel of the --like image: its number, from 0, or its name."),
    ] = "0",
    seed: o.Seed = 0,
    format: Annotated[
        WrittenVersion, o.option("--format", metavar="|".join(get_args(WrittenVersion)), text="Version of OME-Zarr.")
    ] = "0.5",
    overwrite: Annotated[bool, o.option("--overwrite", text="Replace an existing store.")] = False,
    verbose: o.Verbose = False,
) -> None:
    """Write a simulated tissue: an image and its true labels, `labels/truth`. Memory does not grow with the size."""
    set_up_logging(verbose, quiet=False)
    from bigcp3d.pure.tissue.tissue_settings import Tissue
    from bigcp3d.work.simulate import simulate as run

    tissue = Tissue(shape=shape, diameter_vox=diameter_voxels, stain=stain, seed=seed, scale=scale)
    run(target, tissue, scale_um=scale, overwrite=overwrite, like=like, channel=channel, version=format)
    typer.echo(f"{target}: {stain} image and labels/truth, {' x '.join(map(str, shape))} voxels, seed {seed}")


def info(
    source: Annotated[str, typer.Argument(metavar="IN.zarr", help="An OME-Zarr image.")],
    check: Annotated[
        bool,
        o.option(
            "--check",
            text="Compare the metadata with the OME-Zarr specification, count the chunks, and read the whole image and "
            "all labels.",
        ),
    ] = False,
    all_images: AllImages = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
) -> None:
    """Describe a store: what it holds, how it would be segmented, and what is wrong with it.

    Shows version, axes, levels, scales, chunks and channels. Shows labels, tables, unfinished runs and kept maps. Shows
    blocks, memory and disk that a segmentation would take. With `--check`, the exit code is 2 if labels or a chunk
    cannot be read, or if the store holds files that its metadata do not name. For a file of another format, it shows
    what `bigcp3d convert` would read.
    """
    set_up_logging(verbose, quiet)
    if all_images:
        for_each_image(source, quiet, lambda image, name: _describe(image, check=check, quiet=quiet))
    else:
        _describe(source, check=check, quiet=quiet)


def _describe(source: str, *, check: bool, quiet: bool) -> None:
    """Print what one image is."""
    from bigcp3d.face.check_store import check_store
    from bigcp3d.face.describe_store import describe_image
    from bigcp3d.work.convert.beside import find_converted

    image, missing = find_converted(source)
    if missing:
        typer.echo(describe_source(source))
        return
    source = str(image)
    typer.echo(describe_image(source, plan=True))
    if check:
        check_store(source, quiet=quiet)


for each in (
    *(convert, segment, update, edit, review, sweep, demo, simulate, train, evaluate, status, view, measure),
    *(link, estimate_diameter, report, export, info),
):
    app.command()(each)
app.add_typer(models, name="models")
app.command()(manual)


def main() -> None:
    """Run the command line; the entry point of the installed ``bigcp3d``."""
    app(prog_name="bigcp3d")


if __name__ == "__main__":
    main()
