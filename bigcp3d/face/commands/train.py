"""``bigcp3d train``: from its options to `bigcp3d.work.train.train.train`, which decides what they mean and allow."""

from __future__ import annotations

import logging
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.face.options import Quiet, Stain, Verbose, option, read_channels

DATA = "What to learn from"
MODEL = "The model"
WORK = "The training"


class Architecture(StrEnum):
    """Networks that can be trained: see bigcp3d/pure/predict/network.py."""

    eschweiler = "eschweiler"
    half = "half"


class Keep(StrEnum):
    """Which model is written."""

    best = "best"
    last = "last"


class Precision(StrEnum):
    """Of the activations; weights are float32."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


class Representation(StrEnum):
    """What the flow of a model is: see bigcp3d/pure/learn/targets.py."""

    tanh = "tanh"
    heat = "heat"


def train(
    output: Annotated[
        Path, option("--output", panel=MODEL, metavar="MODEL.safetensors", text="The model file to write.")
    ],
    volumes: Annotated[
        list[str] | None,
        typer.Argument(metavar="IN.zarr", help="OME-Zarr images with labels, each PATH or PATH::LABELS."),
    ] = None,
    labels_name: Annotated[
        str, option("--labels-name", panel=DATA, text="Labels to learn, where a volume does not name its own.")
    ] = "truth",
    channel: Annotated[
        list[str] | None,
        option(
            "--channel",
            panel=DATA,
            metavar="N|NAME",
            text="Channel of the volumes, from 0, or its name. May be repeated: the model then takes several, in this "
            "order. Default: the first.",
        ),
    ] = None,
    diameter: Annotated[
        float | None,
        option("--diameter", panel=DATA, metavar="UM", text="Cell diameter in all volumes. Default: measured in each."),
    ] = None,
    painted: Annotated[
        list[str] | None,
        option("--painted", panel=DATA, metavar="IN.zarr", text="Labels to paint membranes around. May be repeated."),
    ] = None,
    simulate: Annotated[
        Stain | None,
        option("--simulate", panel=DATA, text="Mix in simulated tissue; with it, volumes may be left out."),
    ] = None,
    validation: Annotated[
        list[str] | None,
        option("--validation", panel=DATA, metavar="IN.zarr", text="A volume to measure on alone. May be repeated."),
    ] = None,
    holdout_x: Annotated[
        float, option("--holdout-x", panel=DATA, metavar="0..1", text="Share of x of each volume to measure on alone.")
    ] = 0.0,
    min_cell: Annotated[
        int, option("--min-cell", panel=DATA, metavar="VOX", text="Labels below this many voxels are not learned.")
    ] = 50,
    balance: Annotated[
        float,
        option(
            "--balance",
            panel=WORK,
            metavar="0..1",
            text="How far small cells and slivers at a border count: from 0, by their voxels, to 1, as whole cells.",
        ),
    ] = 0.0,
    start: Annotated[
        str | None,
        option(
            "--start",
            panel=MODEL,
            metavar="NAME|PATH",
            text="Train on from a model (see: bigcp3d models): few volumes of yours and a few hundred steps adapt it. "
            "What is left out below is as in that model.",
        ),
    ] = None,
    name: Annotated[str | None, option("--name", panel=MODEL, text="Default: the file's name.")] = None,
    description: Annotated[
        str, option("--description", panel=MODEL, text="Training data and licences, for the card.")
    ] = "",
    representation: Annotated[
        Representation | None, option("--representation", panel=MODEL, text="What the flow is. Default: tanh.")
    ] = None,
    diameter_voxels: Annotated[
        float | None,
        option(
            "--diameter-voxels", panel=MODEL, metavar="VOX", text="Cell diameter that the network knows. Default: 16."
        ),
    ] = None,
    tanh_scale: Annotated[
        float | None,
        option(
            "--tanh-scale", panel=MODEL, metavar="VOX", text="Scale s of the tanh. Default: a fifth of the diameter."
        ),
    ] = None,
    architecture: Annotated[
        Architecture | None,
        option(
            "--architecture",
            panel=MODEL,
            text="The published 3D U-Net (default), or a faster one at half the resolution inside.",
        ),
    ] = None,
    features: Annotated[
        int | None, option("--features", panel=MODEL, text="Of the first level; they double below. Default: 16.")
    ] = None,
    depth: Annotated[int | None, option("--depth", panel=MODEL, text="Levels of the network. Default: 4.")] = None,
    steps: Annotated[int, option("--steps", panel=WORK, text="Optimisation steps.")] = 2000,
    patch: Annotated[
        tuple[int, int, int],
        option(
            "--patch",
            panel=WORK,
            metavar="Z Y X",
            text="Training patch in working voxels: multiples of 2 to the number of levels. Where Y and X are equal, "
            "samples are turned by 90 degrees too.",
        ),
    ] = (48, 64, 64),
    batch: Annotated[int, option("--batch", panel=WORK, text="Patches a step.")] = 2,
    learning_rate: Annotated[float, option("--learning-rate", panel=WORK, text="Of RAdam, at the start.")] = 1e-3,
    seed: Annotated[int, option("--seed", panel=WORK, text="Of patches and weights.")] = 0,
    every: Annotated[
        int,
        option(
            "--every",
            panel=WORK,
            text="Steps between validations; each segments pieces of what is held out, and ends in a row of the "
            "learning curve and a checkpoint.",
        ),
    ] = 250,
    keep: Annotated[
        Keep,
        option(
            "--keep",
            panel=WORK,
            text="The model of the best validation (mean of the cells' Dice and AP at IoU 0.5), or of the last step. "
            "Where nothing is held out, the last.",
        ),
    ] = Keep.best,
    patience: Annotated[
        int, option("--patience", panel=WORK, text="End after so many validations without a gain. 0: never.")
    ] = 0,
    workers: Annotated[
        int,
        option(
            "--workers", panel=WORK, metavar="N", text="Processes that make samples ahead, for a fast GPU. 0: none."
        ),
    ] = 0,
    device: Annotated[
        str | None, option("--device", panel=WORK, metavar="cpu|cuda", text="Default: cuda where there is one.")
    ] = None,
    precision: Annotated[
        Precision,
        option(
            "--precision", panel=WORK, text="Of the activations. auto: bfloat16 where the processor is made for it."
        ),
    ] = Precision.auto,
    resume: Annotated[
        bool,
        option(
            "--resume",
            panel=WORK,
            text="Go on from the checkpoint beside the model, bit for bit; other settings are refused.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, option("--overwrite", panel=WORK, text="Replace an existing model, and discard its checkpoint.")
    ] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Train a model from OME-Zarr images with labels.

    Writes the model, and beside it the learning curve (.losses.csv, .losses.png) and a checkpoint (.checkpoint.pt).
    The default size takes an hour or more on two CPU cores. What is held out (`--validation`, `--holdout-x`) chooses
    the model that is kept, so its scores there are too good; measure it on other volumes with `bigcp3d evaluate`.
    """
    set_up_logging(verbose, quiet, usual=logging.INFO)
    from bigcp3d.errors import InputError
    from bigcp3d.face.pictures.learning_curve_picture import picture_of, try_to_draw
    from bigcp3d.work.train.train import train as run

    sources = volumes or []
    if not sources and not painted and simulate is None:
        raise InputError("there is nothing to learn from; give volumes with labels, --painted, or --simulate")
    run(
        sources,
        output,
        painted=painted or (),
        validation=validation or (),
        holdout_x=holdout_x,
        diameters_um=None if diameter is None else dict.fromkeys(sources, diameter),
        label_name=labels_name,
        channels=read_channels(channel),
        simulate=None if simulate is None else simulate.value,
        start=start,
        name=name,
        description=description,
        representation=None if representation is None else representation.value,
        diameter_vox=diameter_voxels,
        scale_vox=tanh_scale,
        architecture=None if architecture is None else architecture.value,
        features=features,
        depth=depth,
        steps=steps,
        patch=patch,
        batch=batch,
        lr=learning_rate,
        seed=seed,
        min_cell_vox=min_cell,
        balance=balance,
        every=every,
        keep=keep.value,
        patience=patience,
        workers=workers,
        device=device,
        precision=precision.value,
        resume=resume,
        overwrite=overwrite,
        watch=try_to_draw,
    )
    typer.echo(f"model: {output}")
    typer.echo(f"learning curve: {picture_of(output.with_suffix('.losses.csv'))}")
