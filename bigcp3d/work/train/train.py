"""Training: from labelled OME-Zarr volumes (and simulated tissue) to a model file.

Cells that touch are not parted by a gap in the foreground: the flow parts them, since it points away from their common
border on both sides, and a gap would be lost from the cells. With the true maps of a simulated tissue of cells of 20
voxels, the median Dice is 1.00 without a gap and 0.83 with one voxel taken from each side.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.edge.models.model_families import model_hash
from bigcp3d.edge.models.model_files import save_model
from bigcp3d.errors import InputError
from bigcp3d.option import takes
from bigcp3d.version import __version__
from bigcp3d.work.train.batches import Recipe, make_batch
from bigcp3d.work.train.fit import Validated, fit
from bigcp3d.work.train.samples import Look
from bigcp3d.work.train.settings import TrainSettings
from bigcp3d.work.train.train_checks import (
    avoid_wrong_gradients,
    check_card,
    check_target,
    choose_channels,
    choose_device,
    make_card,
)
from bigcp3d.work.train.training_data import TrainingData, open_training_data
from bigcp3d.work.train.validate import draw_regions

CHECKS = 2
"""Patches of each held-out volume on which losses are measured."""

REGION_SEED = 2**21


@takes(TrainSettings)
def train(
    volumes: Sequence[str | Path],
    output: str | Path,
    *,
    on_event: Callable[[Validated], object] | None = None,
    **arguments: Any,
) -> Path:
    """Train a network and write it with its card; beside it the learning curve (CSV) and a checkpoint.

    What is left out of ``representation`` to ``margin`` is as in the card of ``start``, and without it as in
    `bigcp3d.work.train.train_checks.STANDARD`.

    Parameters
    ----------
    **arguments
    on_event : callable, optional
        Receives a `bigcp3d.work.train.fit.Validated` after each validation, when the learning curve was written.

    Returns
    -------
    Path
        Of the model.

    Raises
    ------
    InputError, ModelError, TargetError
        All before the training starts, but for a disk that fills.
    BigCP3DError
        The loss is no longer a number, or a worker died; the last checkpoint is kept.

    Notes
    -----
    The result is the same to the bit on one machine with one number of threads. Volumes are read in pieces: one pass
    over the labels measures the cells, and then each sample reads what it shows.
    """
    settings = TrainSettings(volumes=volumes, output=output, **arguments)
    target = Path(output)
    check_target(target, resume=settings.resume, overwrite=settings.overwrite)
    settings.check()
    channels = choose_channels(settings)
    card = _make_card(settings, channels)
    check_card(settings, card)
    device = choose_device(settings.device, settings.precision)
    device = avoid_wrong_gradients(device, card, settings.patch, settings.precision)
    look = Look(card.diameter_vox, card.low_percentile, card.high_percentile, card.clip)
    data = open_training_data(settings, look, channels)
    recipe = Recipe(_weigh(settings, data), settings.seed, settings.batch, settings.patch, card, settings.balance)
    checks = [
        make_batch(
            [(1.0, source)], (settings.seed + 1, 2**20 + k), 1, settings.patch, card, settings.balance, augment=False
        )
        for _, source in data.held_out
        for k in range(CHECKS)
    ]
    regions = draw_regions(data.held_out, card, settings.seed + REGION_SEED)
    target.parent.mkdir(parents=True, exist_ok=True)
    identity = _identify(settings, card, channels, data)
    network = fit(recipe, checks, regions, settings, device, identity=identity, on_event=on_event)
    save_model(target, network, card)
    return target


def _make_card(settings: TrainSettings, channels: Sequence[int | str]) -> ModelCard:
    """The card of the model to be."""
    low, high = settings.percentiles or (None, None)
    return make_card(
        settings.start,
        representation=settings.representation,
        scale_vox=settings.tanh_scale_vox,
        diameter_vox=settings.diameter_vox,
        architecture=settings.architecture,
        features=settings.features,
        depth=settings.depth,
        channels=len(channels),
        channel_names=tuple(map(str, channels)) if all(isinstance(channel, str) for channel in channels) else None,
        patch=settings.prediction_patch,
        margin=settings.margin,
        low_percentile=low,
        high_percentile=high,
        name=settings.name or Path(settings.output).stem,
        training=settings.description or ", ".join(map(str, [*settings.volumes, *settings.painted])),
        date=date.today().isoformat(),
        bigcp3d_version=__version__,
        command=" ".join(sys.argv),
    )


def _weigh(settings: TrainSettings, data: TrainingData) -> tuple[tuple[float, Any], ...]:
    """Each source with its weight: the share of its kind, divided among those of that kind."""
    kinds = list(zip(settings.shares, data.kinds, strict=True))
    if not any(share > 0 and kind for share, kind in kinds[:-1]):
        raise InputError(f"shares are {settings.shares}, which leave nothing with cells to learn from; give others")
    return tuple((share / len(kind), source) for share, kind in kinds for source in kind if share > 0)


def _identify(
    settings: TrainSettings, card: ModelCard, channels: Sequence[int | str], data: TrainingData
) -> dict[str, Any]:
    """All that decides the result: a checkpoint of other values is refused."""
    named = ("steps", "patch", "batch", "learning_rate", "seed", "every", "shares", "simulate", "holdout_x")
    return {
        **{name: getattr(settings, name) for name in (*named, "min_cell_vox", "balance")},
        **card.model_dump(mode="json", exclude={"name", "patch", "training", "date", "bigcp3d_version", "command"}),
        "prediction_patch": card.patch,
        "channels_read": list(channels),
        "start": None if settings.start is None else model_hash(settings.start),
        **data.describe(settings),
    }
