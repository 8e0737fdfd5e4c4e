"""``bigcp3d simulate``: writes a simulated tissue with its true labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from bigcp3d.errors import InputError
from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.pure.choices import Stain, WrittenVersion


def simulate(
    target: Annotated[Path, typer.Argument(metavar="OUT.zarr", help="The OME-Zarr store to write.")],
    shape: Annotated[
        tuple[int, int, int], o.option("--shape", metavar="Z Y X", text="Size of the volume in voxels.")
    ] = (64, 256, 256),
    diameter_voxels: Annotated[
        float, o.option("--diameter-voxels", metavar="VOX", text="Mean cell diameter in voxels, along the finest axis.")
    ] = 24.0,
    stain: Annotated[
        Stain, o.option("--stain", metavar="|".join(get_args(Stain)), text="What is stained.")
    ] = "membrane",
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
        str | None,
        o.option(
            "--channel",
            metavar="N|NAME",
            text="Channel of the --like image: its number, from 0, or its name. Default: 0.",
        ),
    ] = None,
    seed: o.Seed = 0,
    format: Annotated[
        WrittenVersion, o.option("--format", metavar="|".join(get_args(WrittenVersion)), text="Version of OME-Zarr.")
    ] = "0.5",
    overwrite: Annotated[
        bool,
        o.option(
            "--overwrite",
            text="Replace an existing image, unless it has labels that were not simulated with it.",
        ),
    ] = False,
    verbose: o.Verbose = False,
) -> None:
    """Write a simulated tissue: an image and its true labels, `labels/truth`. Memory does not grow with the size."""
    set_up_logging(verbose, quiet=False)
    if channel is not None and like is None:
        raise InputError("--channel was given without --like; give both: --channel chooses the channel of that image")
    from bigcp3d.pure.tissue.tissue_settings import Tissue
    from bigcp3d.work.simulate import simulate as run

    tissue = Tissue(shape=shape, diameter_vox=diameter_voxels, stain=stain, seed=seed, scale=scale)
    run(target, tissue, scale_um=scale, overwrite=overwrite, like=like, channel=channel or "0", version=format)
    typer.echo(f"{target}: {stain} image and labels/truth, {' x '.join(map(str, shape))} voxels, seed {seed}")
