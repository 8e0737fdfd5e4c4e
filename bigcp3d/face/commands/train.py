"""``bigcp3d train``: trains a model, and draws its learning curve."""

from __future__ import annotations

import logging
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging
from bigcp3d.face.paste import segment_command
from bigcp3d.schedule.planning.request import Request
from bigcp3d.work.train.settings import TrainSettings

if TYPE_CHECKING:
    from bigcp3d.work.train.fit import Trained, Validated

ALIKE = 1.1
"""Up to this ratio, the diameters of several volumes count as the same."""


@o.with_options(o.choose_settings(TrainSettings))
def train(arguments: o.Arguments, context: typer.Context, verbose: o.Verbose = False, quiet: o.Quiet = False) -> None:
    """Train a model from OME-Zarr images with labels.

    Writes the model, and beside it the learning curve (.losses.csv, .losses.png) and a checkpoint (.checkpoint.pt). The
    default settings take an hour or more on two CPU cores. The model that scores best on the held-out data
    (`--validation`, `--holdout-x`) is kept, so its scores there are too good. Test it on other volumes with `bigcp3d
    evaluate`. With `--start`, row 0 of the learning curve is the score of the model to start from. `bigcp3d train
    --output MODEL --resume` continues a training that was stopped.
    """
    set_up_logging(verbose, quiet, usual=logging.INFO)
    from bigcp3d.face.pictures.learning_curve_picture import picture_of, try_to_draw
    from bigcp3d.work.train.fit import Trained
    from bigcp3d.work.train.train import train as run

    use: list[str] = []

    def watch(event: Validated) -> None:
        try_to_draw(event.curve)
        if isinstance(event, Trained):
            use.extend(describe_use(event))

    model = run(**(_typed(arguments, context) if arguments["resume"] else arguments), on_event=watch)
    typer.echo(f"model: {model}")
    typer.echo(f"learning curve: {picture_of(Path(model).with_suffix('.losses.csv'))}")
    for line in use:
        typer.echo(line)


def _typed(arguments: o.Arguments, context: typer.Context) -> o.Arguments:
    """The options that the user gave; a resumed training takes the others from its checkpoint."""
    sources = {name: context.get_parameter_source(name) for name in arguments}
    typed = {name: arguments[name] for name, source in sources.items() if source and source.name != "DEFAULT"}
    return {**typed, "volumes": arguments["volumes"]}


def describe_use(trained: Trained) -> list[str]:
    """The command that uses a model, with the diameter of the cells that it learned from."""
    kinds = {unit: [d for d, um in trained.diameters.values() if um == unit] for unit in (True, False)}
    in_um = bool(kinds[True])
    diameter = float(f"{statistics.median(kinds[in_um]):.3g}") if kinds[in_um] else None
    channels = tuple(trained.channels)
    request = Request(
        "IN.zarr",
        model=str(trained.model),
        channel=None if channels in ((), (0,)) else channels,
        **{"diameter_um" if in_um else "diameter_vox": diameter},  # type: ignore[arg-type]
    )
    lines = [f"use it: {segment_command(request)}"]
    if len(kinds[in_um]) > 1 and max(kinds[in_um]) > ALIKE * min(kinds[in_um]):
        each = (f"{d:.3g} {'um' if um else 'voxels'} in {name}" for name, (d, um) in trained.diameters.items())
        lines.append(f"its volumes had cells of {', '.join(each)}; give the diameter of yours")
    return lines
