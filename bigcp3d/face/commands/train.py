"""``bigcp3d train``: trains a model, and draws its learning curve."""

from __future__ import annotations

import logging
from pathlib import Path

import typer

from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.work.train.settings import TrainSettings


@o.with_options(o.choose_settings(TrainSettings))
def train(arguments: o.Arguments, verbose: o.Verbose = False, quiet: o.Quiet = False) -> None:
    """Train a model from OME-Zarr images with labels.

    Writes the model, and beside it the learning curve (.losses.csv, .losses.png) and a checkpoint (.checkpoint.pt).
    The default size takes an hour or more on two CPU cores. The held-out data (`--validation`, `--holdout-x`) choose
    the model that is kept, so its scores there are too good: test it on other volumes with `bigcp3d evaluate`.
    """
    set_up_logging(verbose, quiet, usual=logging.INFO)
    from bigcp3d.face.pictures.learning_curve_picture import picture_of, try_to_draw
    from bigcp3d.work.train.train import train as run

    model = run(**arguments, on_event=lambda event: try_to_draw(event.curve))
    typer.echo(f"model: {model}")
    typer.echo(f"learning curve: {picture_of(Path(model).with_suffix('.losses.csv'))}")
