"""The command line: ``bigcp3d COMMAND``. Each command calls one function of the library.

``--help`` imports neither torch nor dask nor zarr (a test checks this). Results go to stdout; progress, warnings and
errors to stderr. Exit codes: `bigcp3d.face.exit_codes`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bigcp3d.errors import InputError
from bigcp3d.face import options as o
from bigcp3d.face.commands.estimate_diameter import estimate_diameter
from bigcp3d.face.commands.evaluate import evaluate
from bigcp3d.face.commands.manual import manual
from bigcp3d.face.commands.measure import measure
from bigcp3d.face.commands.report import report
from bigcp3d.face.commands.segment import segment
from bigcp3d.face.commands.status import status
from bigcp3d.face.commands.sweep import sweep
from bigcp3d.face.commands.train import train
from bigcp3d.face.commands.update import update
from bigcp3d.face.commands.view import view
from bigcp3d.face.exit_codes import Failing, set_up_logging
from bigcp3d.version import __version__

app = typer.Typer(
    cls=Failing,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,  # a plain traceback is what one pastes into a report
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bigcp3d {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Segment every cell of a 3D microscopy volume that does not fit in memory.

    The labels are those of the whole volume, bit for bit, whatever the blocks, the workers or the order of the work.
    """


def demo(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to put it all.")] = Path("bigcp3d-demo"),
    check: Annotated[
        bool, typer.Option("--check", help="Segment once more, serially and in one block, and compare bit for bit.")
    ] = False,
    shape: Annotated[
        tuple[int, int, int], typer.Option("--shape", metavar="Z Y X", help="Voxels of the simulated tissue.")
    ] = (48, 192, 192),
    stain: Annotated[o.Stain, typer.Option("--stain", help="What is stained, and which model is used.")] = "membrane",
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Worker processes.")] = 2,
    seed: o.Seed = 0,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
) -> None:
    """Simulate a tissue, segment it in blocks on a local Dask cluster, compare with the truth, and draw it.

    Needs no data and no download; a minute or two on two cores.
    """
    set_up_logging(verbose, quiet)
    from bigcp3d.face.commands.run_demo import Demo, run_demo

    plan = Demo(folder, shape=shape, stain=stain, seed=seed, workers=workers, check=check)
    typer.echo(describe_numbers(run_demo(plan, quiet=quiet, say=typer.echo)))


def simulate(
    target: Annotated[Path, typer.Argument(metavar="OUT.zarr", help="OME-Zarr to write; must not exist.")],
    shape: Annotated[tuple[int, int, int], typer.Option("--shape", metavar="Z Y X", help="Voxels of the volume.")] = (
        64,
        256,
        256,
    ),
    diameter_voxels: Annotated[
        float, typer.Option("--diameter-voxels", metavar="D", help="Mean cell diameter, in voxels of the finest axis.")
    ] = 24.0,
    stain: Annotated[o.Stain, typer.Option("--stain", help="What is stained.")] = "membrane",
    scale: Annotated[
        tuple[float, float, float], typer.Option("--scale", metavar="Z Y X", help="Voxel size in micrometres.")
    ] = (1.0, 1.0, 1.0),
    seed: o.Seed = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    verbose: o.Verbose = False,
) -> None:
    """Write a simulated tissue, image and `labels/truth`, chunk by chunk: any size in little memory."""
    set_up_logging(verbose, quiet=False)
    from bigcp3d.pure.tissue.tissue import Tissue
    from bigcp3d.work.simulate import simulate as run

    tissue = Tissue(shape=shape, diameter_vox=diameter_voxels, stain=stain, seed=seed, scale=scale)
    run(target, tissue, scale_um=scale, overwrite=overwrite)
    typer.echo(f"{target}: {stain} image and labels/truth, {' x '.join(map(str, shape))} voxels, seed {seed}")


def describe_numbers(numbers: dict[str, Any]) -> str:
    """The numbers of an evaluation, one a line, fractions with three digits."""
    width = max(map(len, numbers), default=0)
    return "\n".join(
        f"{key:<{width}}  {value:.3f}" if isinstance(value, float) else f"{key:<{width}}  {value}"
        for key, value in numbers.items()
    )


def info(
    source: Annotated[str, typer.Argument(metavar="IN.zarr", help="An OME-Zarr image.")],
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Read every chunk of the image and its labels, and list those that cannot be read."
        ),
    ] = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
) -> None:
    """Describe a store: what it holds, what a segmentation would do with it, and what is wrong with it.

    Version, axes, levels, scales, chunks, channels; labels, tables, unfinished runs and kept maps; blocks, memory and
    disk of a segmentation. With --check the exit code is 2 where a chunk cannot be read.
    """
    set_up_logging(verbose, quiet)
    from bigcp3d.face.describe_store import check_chunks, describe_image

    typer.echo(describe_image(source, plan=True))
    if check:
        check_chunks(source, quiet=quiet)


def models(
    name: Annotated[
        str | None,
        typer.Argument(help="A shipped model, a .safetensors file, or cellpose:NAME|PATH. Default: all shipped."),
    ] = None,
    verbose: o.Verbose = False,
) -> None:
    """Show the models that come with bigcp3d, with what each expects and was trained on; of one, also its scores."""
    set_up_logging(verbose, quiet=False)
    from bigcp3d.edge.models.model_families import find_model, load_card
    from bigcp3d.edge.models.model_files import shipped_models
    from bigcp3d.face.describe_store import describe_model

    chosen = shipped_models() if name is None else {name: find_model(name)}
    if not chosen:
        raise InputError("no model comes with this installation; train one with 'bigcp3d train', or reinstall bigcp3d")
    typer.echo("\n\n".join(describe_model(key, path, load_card(key)) for key, path in chosen.items()))
    for scores in (path.with_suffix(".md") for path in chosen.values() if name is not None):
        if scores.is_file():
            typer.echo("\n" + scores.read_text(encoding="utf-8").rstrip())


for each in (
    *(segment, update, sweep, demo, simulate, train, evaluate, status, view, measure, estimate_diameter, report),
    *(info, models, manual),
):
    app.command()(each)


def main() -> None:
    """Run the command line; the entry point of the installed ``bigcp3d``."""
    app(prog_name="bigcp3d")


if __name__ == "__main__":
    main()
