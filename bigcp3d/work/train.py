"""Training: from labelled OME-Zarr volumes (and simulated tissue) to a model file.

Cells that touch are not parted by a gap in the foreground. The flow parts them, for at a common border it points
away on both sides; and a gap would be lost from the cells. Measured with the true maps of a simulated tissue of cells
of 20 voxels: the median Dice is 1.00 without a gap, and 0.83 with one voxel taken from each side.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError

from bigcp3d.edge.image import open_image, open_labels
from bigcp3d.edge.models import ModelCard, save_model
from bigcp3d.errors import InputError, TargetError
from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.work.fit import Schedule, fit, make_batch
from bigcp3d.work.samples import Look, NoiseSource, Source, TissueSource, open_source

CHECKS = 2
"""Patches of each held-out volume on which the network is validated."""


def split_name(volume: str | Path, default: str) -> tuple[str, str]:
    """Path and label name of ``path`` or ``path::name``."""
    path, _, name = str(volume).partition("::")
    return path, name or default


def part_of(shape: Vec3, holdout_x: float, *, held_out: bool) -> Box:
    """What of a volume is trained on, or held out: the last fraction ``holdout_x`` of x."""
    cut = max(1, shape[2] - round(holdout_x * shape[2]))
    return Box((0, 0, cut), shape) if held_out else Box((0, 0, 0), (shape[0], shape[1], cut))


def choose_device(device: str | None) -> tuple[str, bool]:
    """The kind of device ("cuda" where there is one, unless asked otherwise), and whether bfloat16 is fast on it.

    Without instructions of the processor for bfloat16 torch emulates it, slowly.
    """
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cuda":
        return kind, torch.cuda.is_bf16_supported()
    tests = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return kind, kind == "cpu" and any(bool(test()) for test in tests if test is not None)


def train(
    volumes: Sequence[str | Path],
    out: str | Path,
    *,
    painted: Sequence[str | Path] = (),
    validation: Sequence[str | Path] = (),
    holdout_x: float = 0.0,
    diameters_um: Mapping[str, float] | None = None,
    label_name: str = "truth",
    simulate: Literal["membrane", "nuclei"] | None = None,
    shares: tuple[float, float, float, float] = (0.5, 0.2, 0.25, 0.05),
    name: str | None = None,
    description: str = "",
    representation: Literal["tanh", "heat"] = "tanh",
    diameter_vox: float = 16.0,
    scale_vox: float | None = None,
    features: int = 16,
    depth: int = 4,
    steps: int = 2000,
    patch: Vec3 = (48, 64, 64),
    batch: int = 2,
    lr: float = 1e-3,
    seed: int = 0,
    min_cell_vox: int = 50,
    percentiles: tuple[float, float] = (1.0, 99.5),
    prediction_patch: Vec3 = (96, 96, 96),
    margin: int = 12,
    every: int = 250,
    device: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Path:
    """Train a network and write it with its card; beside it a CSV of the losses and a checkpoint.

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
    simulate : "membrane" or "nuclei", optional
        Mix in simulated tissue.
    shares : tuple of float
        Weight of the volumes, the painted ones, simulated tissue and noise among the samples; those absent count
        nothing.
    name, description : str
        For the card: default the file's name; training data and their licences.
    representation : "tanh" or "heat"
    diameter_vox, scale_vox : float
        Diameter that the network shall know, and s of the tanh (default a fifth of it), in voxels.
    features, depth : int
        Of the network.
    steps, batch, lr, seed : int, int, float, int
        Optimisation.
    patch : tuple of int
        Training patch (z, y, x), y and x equally long.
    min_cell_vox : int
        Smaller labels are not learned from.
    percentiles : tuple of float
        Intensities that become 0 and 1.
    prediction_patch, margin : tuple of int, int
        For the card.
    every : int
        Steps between validations and checkpoints.
    device : str, optional
        Default: "cuda" where there is one, else "cpu".
    resume, overwrite : bool
        Go on from the checkpoint; replace an existing model.

    Returns
    -------
    path : Path
        Of the model.

    Raises
    ------
    InputError, ModelError, TargetError
        All before the training starts, but for a disk that fills.

    Notes
    -----
    Weights are float32; activations bfloat16 where the processor has instructions for it. Repeatable on one machine
    with one number of threads.
    """
    target = Path(out)
    if target.exists() and not (overwrite or resume):
        raise TargetError(f"{target} exists; nothing is overwritten unasked: give another path, or overwrite it")
    look = Look(diameter_vox, *percentiles)
    card = _make_card(
        name=name or target.stem,
        representation=representation,
        scale_vox=scale_vox or diameter_vox / 5,
        diameter_vox=diameter_vox,
        channels=1,
        features=features,
        depth=depth,
        patch=prediction_patch,
        margin=margin,
        low_percentile=look.low_percentile,
        high_percentile=look.high_percentile,
        clip=look.clip,
        training=description or ", ".join(map(str, [*volumes, *painted])),
        date=date.today().isoformat(),
        bigcp3d_version=_version(),
        command=" ".join(sys.argv),
    )
    _check(patch, card.stride, holdout_x, steps)

    def open_part(volume: str | Path, share: float, *, paint: bool = False, held_out: bool = False) -> Source:
        path, labels_name = split_name(volume, label_name)
        labels = open_labels(path, labels_name)
        part = part_of(labels.levels[0].shape, share, held_out=held_out)
        diameter = (diameters_um or {}).get(str(volume))
        image = None if paint else open_image(path)
        return open_source(image, labels, look, part=part, diameter_um=diameter, min_cell_vox=min_cell_vox)

    kinds: list[list[Source]] = [
        [open_part(v, holdout_x) for v in volumes],
        [open_part(v, holdout_x, paint=True) for v in painted],
        [TissueSource(simulate, look)] if simulate else [],
        [NoiseSource(look)],
    ]
    sources = [(share / len(kind), s) for share, kind in zip(shares, kinds, strict=True) for s in kind if share > 0]
    held: list[Source] = [open_part(v, 0.0) for v in validation]
    if holdout_x > 0:
        held += [open_part(v, holdout_x, held_out=True) for v in volumes]
        held += [open_part(v, holdout_x, paint=True, held_out=True) for v in painted]
    held += kinds[2]
    checks = [
        make_batch([(1.0, s)], (seed + 1, 2**20 + k), 1, patch, card, augment=False)
        for s in held
        for k in range(CHECKS)
    ]
    target.parent.mkdir(parents=True, exist_ok=True)
    schedule = Schedule(steps, patch, batch, lr, seed, every, *choose_device(device))
    save_model(target, fit(sources, checks, target, card, schedule, resume=resume), card)
    return target


def _make_card(**fields: object) -> ModelCard:
    """A card; `InputError` where a value cannot be."""
    try:
        return ModelCard.model_validate(fields)
    except ValidationError as error:
        found = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'card'} {e['input']!r}: {e['msg']}" for e in error.errors()
        )
        raise InputError(f"the model cannot be as asked ({found}): change these values") from error


def _check(patch: Vec3, stride: int, holdout_x: float, steps: int) -> None:
    """Refuse what could only fail later."""
    if patch[1] != patch[2] or any(side < stride or side % stride for side in patch):
        raise InputError(
            f"patch is {patch}; allowed are multiples of {stride} with y and x equal, since they are exchanged at "
            "random: "
            "choose such a patch"
        )
    if not 0 <= holdout_x < 1:
        raise InputError(f"holdout_x is {holdout_x}; allowed is 0 to below 1: give the fraction of x to keep back")
    if steps < 1:
        raise InputError(f"steps is {steps}; allowed is 1 or more: give the number of optimisation steps")


def _version() -> str:
    from bigcp3d import __version__

    return __version__
