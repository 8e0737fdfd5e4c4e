"""Training: from labelled OME-Zarr volumes (and simulated tissue) to a model file.

Cells that touch are not parted by a gap in the foreground. The flow parts them, for at a common border it points
away on both sides; and a gap would be lost from the cells. Measured with the true maps of a simulated tissue of cells
of 20 voxels: the median Dice is 1.00 without a gap, and 0.83 with one voxel taken from each side.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Literal

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.models.model_families import model_hash
from bigcp3d.edge.models.model_files import save_model
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.version import __version__
from bigcp3d.work.train.batches import Recipe, make_batch
from bigcp3d.work.train.fit import fit
from bigcp3d.work.train.optimise import Schedule
from bigcp3d.work.train.samples import Look, NoiseSource, Source, TissueSource, VolumeSource, open_source
from bigcp3d.work.train.train_checks import (
    avoid_wrong_gradients,
    check_channels,
    check_numbers,
    check_target,
    choose_device,
    make_card,
)
from bigcp3d.work.train.validate import draw_regions

CHECKS = 2
"""Patches of each held-out volume on which losses are measured."""

REGION_SEED = 2**21


def split_name(volume: str | Path, default: str) -> tuple[str, str]:
    """Path and label name of ``path`` or ``path::name``."""
    path, _, name = str(volume).partition("::")
    return path, name or default


def part_of(shape: Vec3, holdout_x: float, *, held_out: bool) -> Box:
    """What of a volume is trained on, or held out: the last fraction ``holdout_x`` of x."""
    cut = max(1, shape[2] - round(holdout_x * shape[2]))
    return Box((0, 0, cut), shape) if held_out else Box((0, 0, 0), (shape[0], shape[1], cut))


def train(
    volumes: Sequence[str | Path],
    out: str | Path,
    *,
    painted: Sequence[str | Path] = (),
    validation: Sequence[str | Path] = (),
    holdout_x: float = 0.0,
    diameters_um: Mapping[str, float] | None = None,
    label_name: str = "truth",
    channels: Sequence[int | str] | None = None,
    simulate: Literal["membrane", "nuclei"] | None = None,
    shares: tuple[float, float, float, float] = (0.5, 0.2, 0.25, 0.05),
    start: str | Path | None = None,
    name: str | None = None,
    description: str = "",
    representation: Literal["tanh", "heat"] | None = None,
    diameter_vox: float | None = None,
    scale_vox: float | None = None,
    architecture: Literal["eschweiler", "half"] | None = None,
    features: int | None = None,
    depth: int | None = None,
    steps: int = 2000,
    patch: Vec3 = (48, 64, 64),
    batch: int = 2,
    lr: float = 1e-3,
    seed: int = 0,
    balance: float = 0.0,
    min_cell_vox: int = 50,
    percentiles: tuple[float, float] | None = None,
    prediction_patch: Vec3 | None = None,
    margin: int | None = None,
    every: int = 250,
    keep: Literal["best", "last"] = "best",
    patience: int = 0,
    workers: int = 0,
    device: str | None = None,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    resume: bool = False,
    overwrite: bool = False,
    watch: Callable[[Path], object] | None = None,
) -> Path:
    """Train a network and write it with its card; beside it the learning curve (CSV) and a checkpoint.

    Parameters
    ----------
    volumes : sequence of str or Path
        OME-Zarr images with labels, each ``path`` or ``path::label name``.
    out : str or Path
        The model file.
    painted : sequence of str or Path
        Stores whose labels get a membrane image painted around their cells.
    validation : sequence of str or Path
        Volumes that are not trained on.
    holdout_x : float
        Fraction of x, at its end, of every volume that is kept for validation: 0 to below 1.
    diameters_um : mapping, optional
        Cell diameter by volume (as given in ``volumes``), in units of its scale; otherwise the median of its whole
        cells.
    label_name : str
        Where a volume does not name its labels.
    channels : sequence of int or str, optional
        Of the volumes, by index or name: the model's input channels, in this order. Default: those that ``start``
        names, else the first. With several, nothing is painted or simulated, as these show one stain.
    simulate : "membrane" or "nuclei", optional
        Mix in simulated tissue.
    shares : tuple of float
        Weight of the volumes, the painted ones, simulated tissue and noise among the samples; those absent count
        nothing.
    start : str or Path, optional
        A model whose weights are trained on, a shipped one's name or a file: to adapt it to another stain takes few
        volumes and steps. What is left out of the arguments below, down to ``depth``, and of ``percentiles``,
        ``prediction_patch`` and ``margin``, is then as in its card; else as in
        `bigcp3d.work.train.train_checks.STANDARD`.
    name, description : str
        For the card: default the file's name; training data and their licences.
    representation : "tanh" or "heat"
    diameter_vox, scale_vox : float
        Diameter that the network shall know, and s of the tanh (default a fifth of it), in voxels.
    architecture : "eschweiler" or "half"
        `bigcp3d.pure.predict.network.UNet3D`, or the faster `HalfUNet3D`.
    features, depth : int
        Of the network.
    steps, batch, lr, seed : int, int, float, int
        Optimisation.
    patch : tuple of int
        Training patch (z, y, x). Samples are turned by 90 degrees as well where y and x are equally long.
    balance : float
        From 0 (each voxel of a cell counts alike in the loss) to 1 (each cell does): how much small cells, and slivers
        at a volume's border, are looked after; `bigcp3d.pure.learn.targets.size_weights`. 0.5 is a good choice where
        the smallest labels are cells, and not crumbs of the annotation.
    min_cell_vox : int
        Smaller labels are not learned from.
    percentiles : tuple of float
        Intensities that become 0 and 1.
    prediction_patch, margin : tuple of int, int
        For the card.
    every : int
        Steps between validations, which end in a row of the learning curve and a checkpoint.
    keep : "best" or "last"
        The model of the best validation, by the mean of cells' Dice and AP at 0.5 on whole segmentations, or that of
        the last step. Scores of a model that was chosen on held-out data are too good on these data: what it is worth
        must be measured on others. Without held-out data the last is kept.
    patience : int
        Validations without a gain after which the training ends; 0: never.
    workers : int
        Processes that make samples ahead; 0: this one makes each before its step. No sample depends on it.
    device : str, optional
        Default: "cuda" where there is one, else "cpu".
    precision : "auto", "float32" or "bfloat16"
        Of the activations; auto is bfloat16 where the processor has instructions for it. Weights are float32.
    resume, overwrite : bool
        Go on from the checkpoint, where there is one; replace an existing model and checkpoint.
    watch : callable, optional
        Called with the path of the learning curve whenever that was written: to draw it, say.

    Returns
    -------
    path : Path
        Of the model.

    Raises
    ------
    InputError, ModelError, TargetError
        All before the training starts, but for a disk that fills.
    BigCP3DError
        The loss is no longer a number, or a worker died; the last checkpoint is kept.

    Notes
    -----
    Repeatable to the bit on one machine with one number of threads. Volumes are read in pieces: one pass over the
    labels measures the cells, and then each sample reads what it shows.
    """
    target = Path(out)
    check_target(target, resume=resume, overwrite=overwrite)
    if not (volumes or painted or simulate):
        raise InputError("found nothing to learn from; give volumes with labels, volumes to paint, or a tissue")
    chosen = check_channels(channels, start, painted=painted, simulate=simulate)
    low, high = percentiles or (None, None)
    card = make_card(
        start,
        representation=representation,
        scale_vox=scale_vox,
        diameter_vox=diameter_vox,
        architecture=architecture,
        features=features,
        depth=depth,
        channels=len(chosen),
        channel_names=tuple(map(str, chosen)) if all(isinstance(channel, str) for channel in chosen) else None,
        patch=prediction_patch,
        margin=margin,
        low_percentile=low,
        high_percentile=high,
        name=name or target.stem,
        training=description or ", ".join(map(str, [*volumes, *painted])),
        date=date.today().isoformat(),
        bigcp3d_version=__version__,
        command=" ".join(sys.argv),
    )
    look = Look(card.diameter_vox, card.low_percentile, card.high_percentile, card.clip)
    schedule = Schedule(steps, lr, every, *choose_device(device, precision), keep, patience, workers)
    check_numbers(schedule, card, patch, batch, holdout_x, shares, balance)
    schedule = avoid_wrong_gradients(schedule, card, patch, precision)
    if patience and not (validation or holdout_x or simulate):
        raise InputError(f"patience is {patience}, but nothing is held out; give validation volumes or holdout_x")

    def open_part(volume: str | Path, share: float, *, paint: bool = False, held_out: bool = False) -> Source:
        path, labels_name = split_name(volume, label_name)
        labels = open_labels(path, labels_name)
        part = part_of(labels.levels[0].shape, share, held_out=held_out)
        diameter = (diameters_um or {}).get(str(volume))
        image = None if paint else open_image(path)
        return open_source(
            image, labels, look, part=part, diameter_um=diameter, min_cell_vox=min_cell_vox, channels=chosen
        )

    kinds: list[list[Source]] = [
        [open_part(v, holdout_x) for v in volumes],
        [open_part(v, holdout_x, paint=True) for v in painted],
        [TissueSource(simulate, look)] if simulate else [],
        [NoiseSource(look, len(chosen))],
    ]
    weighted = [(share / len(kind), s) for share, kind in zip(shares, kinds, strict=True) for s in kind if share > 0]
    if not any(share > 0 and kind for share, kind in zip(shares, kinds[:-1], strict=False)):
        raise InputError(f"shares are {shares}, which leave nothing with cells to learn from; give other shares")
    held = [(str(v), open_part(v, 0.0)) for v in validation]
    if holdout_x > 0:
        held += [(str(v), open_part(v, holdout_x, held_out=True)) for v in volumes]
        held += [(str(v), open_part(v, holdout_x, paint=True, held_out=True)) for v in painted]
    held += [(f"simulated {simulate}", source) for source in kinds[2]]
    checks = [
        make_batch([(1.0, s)], (seed + 1, 2**20 + k), 1, patch, card, balance, augment=False)
        for _, s in held
        for k in range(CHECKS)
    ]
    settings = {
        **{"steps": steps, "patch": patch, "batch": batch, "lr": lr, "seed": seed, "every": every},
        **{"shares": shares, "simulate": simulate, "holdout_x": holdout_x, "min_cell_vox": min_cell_vox},
        "balance": balance,
        **card.model_dump(mode="json", exclude={"name", "patch", "training", "date", "bigcp3d_version", "command"}),
        "prediction_patch": card.patch,
        "channels_read": list(chosen),
        "start": None if start is None else model_hash(start),
        "volumes": _describe(volumes, kinds[0]),
        "painted": _describe(painted, kinds[1]),
        "validation": _describe(validation, [s for _, s in held]),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(tuple(weighted), seed, batch, patch, card, balance)
    regions = draw_regions(held, card, seed + REGION_SEED)
    network = fit(recipe, checks, regions, target, schedule, start=start, settings=settings, resume=resume, watch=watch)
    save_model(target, network, card)
    return target


def _describe(volumes: Sequence[str | Path], sources: Sequence[Source]) -> list[str]:
    """What a checkpoint remembers of volumes: what was measured in them, so that they may be moved but not changed."""
    return [
        f"{Path(str(volume)).name}: {len(source.cells.ids)} cells in {source.part.start} to {source.part.stop}, "
        f"factors {tuple(round(f, 6) for f in source.factors)}, "
        f"values {source.ranges}"
        for volume, source in zip(volumes, sources, strict=False)
        if isinstance(source, VolumeSource)
    ]
