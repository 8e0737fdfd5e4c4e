"""Training: from labelled OME-Zarr volumes (and simulated tissue) to a model file.

The true foreground has no gap between cells that touch. The flow parts them, since it points away from their common
border on both sides, and a gap would be lost from the cells: with the true maps of a simulated tissue with cells of 20
voxels, the median Dice is 1.00 without a gap, and 0.83 where one voxel is taken from each side.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.edge.models.model_families import model_hash
from bigcp3d.edge.models.model_files import save_model
from bigcp3d.errors import InputError
from bigcp3d.option import takes
from bigcp3d.work.train.batches import Recipe, fill_cache
from bigcp3d.work.train.fit import Trained, Training, Validated
from bigcp3d.work.train.remembered_options import take_up
from bigcp3d.work.train.sample_cache import open_cache
from bigcp3d.work.train.samples import Source
from bigcp3d.work.train.settings import TrainSettings
from bigcp3d.work.train.train_checks import (
    avoid_wrong_gradients,
    check_model_path,
    choose_channels,
    choose_device,
    make_card,
)
from bigcp3d.work.train.training_data import TrainingData, open_training_data
from bigcp3d.work.train.validate import draw_regions

log = logging.getLogger(__name__)

CHECKS = 2
"""Patches of each held-out volume on which losses are measured."""

CHECK_NUMBER, REGION_SEED = 2**20, 2**21
"""They keep what is drawn for validation apart from what is drawn for training."""


@takes(TrainSettings)
def train(
    volumes: Sequence[str | Path],
    output: str | Path,
    *,
    on_event: Callable[[Validated], object] | None = None,
    **arguments: Any,
) -> Path:
    """Train a network and write it with its card; beside it the learning curve (CSV) and a checkpoint.

    With ``resume``, arguments that are not given are those of the checkpoint (``volumes`` too), and values that would
    change steps already done are an error. Settings of the network that are not given (``representation`` to
    ``margin``) are those of ``start``, or else `bigcp3d.work.train.train_checks.STANDARD`.

    Parameters
    ----------
    **arguments
    on_event : callable, optional
        Receives a `bigcp3d.work.train.fit.Validated` after each validation, when the learning curve was written, and a
        `bigcp3d.work.train.fit.Trained`, which is one too, at the end.

    Returns
    -------
    Path
        Of the model, or with ``samples_only`` of the folder with the samples.

    Raises
    ------
    InputError, ModelError, TargetError
        Something is wrong with the settings or the volumes (found before the training starts), or the disk is full.
    BigCP3DError
        The loss is no longer a number, or a worker died; the last checkpoint is kept.

    Notes
    -----
    The result is the same to the bit on one machine with one number of threads. Volumes are read in pieces: one pass
    over the labels measures the cells, and then each sample reads what it shows.
    """
    target = Path(output)
    check_model_path(target, resume=arguments.get("resume", False), overwrite=arguments.get("overwrite", False))
    settings, checkpoint = take_up(output, {**arguments, **({"volumes": volumes} if volumes else {})})
    settings.check()
    channels = choose_channels(settings)
    card = make_card(settings, channels)
    device = choose_device(settings.device, settings.precision)
    device = avoid_wrong_gradients(device, card, settings.patch, settings.precision)
    data = open_training_data(settings, card, channels)
    sources = _weigh(settings, data)
    recipe = Recipe(
        sources, settings.seed, settings.batch, settings.patch, card, settings.balance, repeat=settings.repeat
    )
    identity = _identify(settings, card, channels, data)
    cache = None if settings.cache is None else open_cache(Path(settings.cache), settings.cache_gb, _decide(identity))
    if settings.samples_only and cache is not None:
        made = fill_cache(recipe, range(settings.steps), settings.workers, cache)
        log.info("%s: the samples of %d steps are ready, %d in all", cache.folder, settings.steps, made)
        return cache.folder
    plain = replace(recipe, seed=settings.seed + 1, batch=1, augment=False)
    checks = [
        replace(plain, sources=((1.0, source),)).make(CHECK_NUMBER + k)
        for _, source in data.held_out
        for k in range(CHECKS)
    ]
    regions = draw_regions(data.held_out, card, settings.seed + REGION_SEED)
    target.parent.mkdir(parents=True, exist_ok=True)
    training = Training(recipe, checks, regions, settings, device, identity, cache)
    save_model(target, training.run(checkpoint, on_event), card)
    if on_event is not None:
        unnamed = () if card.channel_names else channels
        on_event(Trained(training.rows[-1], training.curve, target, data.diameters, unnamed))
    return target


def _weigh(settings: TrainSettings, data: TrainingData) -> tuple[tuple[float, Source], ...]:
    """Each source with its weight: the share of its kind, divided among those of that kind."""
    kinds = list(zip(settings.shares, data.kinds, strict=True))
    if not any(share > 0 and kind for share, kind in kinds[:-1]):
        raise InputError(
            f"shares are {settings.shares}, but no sample with cells is left to learn from; give a "
            "share above 0 to volumes, painted volumes or simulated tissue"
        )
    return tuple((share / len(kind), source) for share, kind in kinds for _, source in kind if share > 0)


def _identify(
    settings: TrainSettings, card: ModelCard, channels: Sequence[int | str], data: TrainingData
) -> dict[str, Any]:
    """All that decides the result, apart from the number of steps, which may grow."""
    named = ("patch", "batch", "learning_rate", "seed", "every", "shares", "simulate", "holdout_x", "repeat")
    return {
        **{name: getattr(settings, name) for name in (*named, "min_cell_vox", "balance")},
        **card.model_dump(mode="json", exclude={"name", "patch", "training", "date", "bigcp3d_version", "command"}),
        "prediction_patch": card.patch,
        "channels_read": list(channels),
        "start": None if settings.start is None else model_hash(settings.start),
        **data.described,
    }


def _decide(identity: dict[str, Any]) -> dict[str, Any]:
    """The part of the identity that decides on samples: not how many there are, and what learns from them."""
    learning = ("batch", "learning_rate", "every", "repeat", "start", "prediction_patch", "margin")
    network = ("architecture", "features", "depth")
    return {name: value for name, value in identity.items() if name not in (*learning, *network)}
