"""Checks before a training starts: where the model goes, the device, the channels, the card."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from bigcp3d.edge.models.model_card import OWN_ARCHITECTURES, ModelCard
from bigcp3d.edge.models.model_families import load_card
from bigcp3d.edge.stores.check_writable import check_folder
from bigcp3d.edge.stores.places import refuse_address
from bigcp3d.errors import InputError, TargetError
from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.predict.run_network import fast_precision
from bigcp3d.pure.track.tracking import MAX_REACH
from bigcp3d.work.train.optimise import Device
from bigcp3d.work.train.settings import TrainSettings

log = logging.getLogger(__name__)

STANDARD: dict[str, Any] = {
    **{"representation": "tanh", "diameter_vox": 16.0, "scale_vox": None},
    **{"architecture": "eschweiler", "channels": 1, "channel_names": (), "features": 16, "depth": 4},
    **{"patch": (96, 96, 96), "margin": 12},
    **{"low_percentile": 1.0, "high_percentile": 99.5, "clip": (-0.5, 2.5)},
}
"""A model's form where nothing else is said; ``scale_vox`` None is a fifth of the diameter."""


def check_target(target: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse to overwrite a model, a learning curve or a checkpoint unasked (`TargetError`)."""
    refuse_address(target, "the model's file", "write it there and copy it")
    if target.is_dir():
        raise TargetError(f"{target} is a folder; a model is one file: give its path, such as {target}/my.safetensors")
    if target.suffix != ".safetensors":
        raise TargetError(f"{target}: a model is a .safetensors file: give such a name, {target.name}.safetensors say")
    curve = target.with_suffix(".losses.csv")
    for path in (target, target.with_suffix(".checkpoint.pt"), *([curve] if _has_rows(curve) else [])):
        if path.exists() and not (overwrite or resume):
            raise TargetError(f"{path} exists; give another path, resume, or overwrite it")
    check_folder(target.parent, target)


def _has_rows(curve: Path) -> bool:
    """Whether a learning curve holds more than its heading."""
    return curve.is_file() and len(curve.read_bytes().splitlines()) > 1


def choose_device(device: str | None, precision: str = "auto") -> Device:
    """Where to compute: on a GPU if there is one and nothing else was asked, in bfloat16 if "auto" finds it fast.

    Raises
    ------
    InputError
        The device is not there.
    """
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not torch.cuda.is_available()):
        there = "cpu, cuda" if torch.cuda.is_available() else "cpu; torch finds no CUDA device here"
        raise InputError(f"device is {kind!r}; allowed are {there}: choose one, or leave it out")
    return Device(kind, (fast_precision(kind) if precision == "auto" else precision) == "bfloat16")


def avoid_wrong_gradients(device: Device, card: ModelCard, patch: Vec3, precision: str) -> Device:
    """The device, in float32 where bfloat16 would learn from noise.

    In bfloat16 on a processor, torch 2.13 (through oneDNN) computes the weights' gradient of a 3 x 3 x 3 convolution
    wrongly where its input is two voxels deep: numbers up to 1e38 or NaN, while the output and the loss look right.
    Width and height do not matter, nor does any other depth. Networks halve a patch, so shallow ones get there.

    Raises
    ------
    InputError
        bfloat16 was asked for by name.
    """
    if device.kind != "cpu" or not device.bfloat16 or patch[0] > 2 * card.stride:
        return device
    cure = f"a patch of more than {2 * card.stride} voxels in z can be trained in bfloat16"
    if precision == "bfloat16":
        raise InputError(
            f"patch is {patch}, which the network sees two voxels deep, and gradients of that are wrong in bfloat16 on "
            f"a processor: leave the precision out (float32), or make it deeper: {cure}"
        )
    log.warning("patch %s is shallow, so training is in float32; %s, which is faster", patch, cure)
    return replace(device, bfloat16=False)


def choose_channels(settings: TrainSettings) -> tuple[int | str, ...]:
    """The channels of the volumes that are read: as asked, else those that the model to start from names.

    Raises
    ------
    InputError
        There are several, and something that shows one stain is to be learned from as well; or they must be said.
    """
    start, given = settings.start, settings.channel
    if isinstance(given, int | str):
        given = (given,)
    before = None if start is None else load_card(start)
    number = 1 if before is None else before.channels
    named = before.channel_names if before is not None and number > 1 else ()
    chosen = tuple(given or named or range(number))
    if before is not None and len(chosen) != before.channels:
        raise InputError(
            f"{len(chosen)} channels were given, but {start} takes {before.channels}: give as many, in its order "
            f"({', '.join(before.channel_names) or 'its card names none'})"
        )
    if len(chosen) > 1 and (settings.painted or settings.simulate):
        kind = "painted" if settings.painted else "simulated"
        raise InputError(
            f"{len(chosen)} channels were given, and {kind} tissue shows one stain: "
            "leave that out, or train with one channel"
        )
    return chosen


def make_card(start: str | Path | None, **fields: object) -> ModelCard:
    """A card; what is None is as in the card of ``start``, or where there is none as in `STANDARD`.

    Raises
    ------
    InputError
        A value cannot be, or the network would be another one than that of ``start``.
    """
    before = STANDARD if start is None else load_card(start).model_dump(include=set(STANDARD))
    fields = {**before, **{name: value for name, value in fields.items() if value is not None}}
    if not fields["scale_vox"]:
        fields["scale_vox"] = fields["diameter_vox"] / 5  # type: ignore[operator]
    if fields["architecture"] not in OWN_ARCHITECTURES:
        raise InputError(
            f"architecture is {fields['architecture']!r}; {' and '.join(OWN_ARCHITECTURES)} can be trained here: "
            "choose one"
        )
    for name in ("architecture", "features", "depth", "channels"):
        if start is not None and fields[name] != before[name]:
            raise InputError(
                f"{name} is {fields[name]}, but the network to start from, {start}, has {before[name]}: leave it out, "
                "or start from random weights"
            )
    try:
        return ModelCard.model_validate(fields)
    except ValidationError as error:
        found = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'card'} {e['input']!r}: {e['msg']}" for e in error.errors()
        )
        raise InputError(f"the model cannot be as asked ({found}): change these values") from error


def check_card(settings: TrainSettings, card: ModelCard) -> None:
    """Refuse a network that cannot be trained here, or not on such patches (`InputError`)."""
    if card.diameter_vox > 2 * MAX_REACH / 3:
        raise InputError(
            f"diameter_vox is {card.diameter_vox:g}; allowed is up to {2 * MAX_REACH // 3}, since paths of three radii "
            "are stored in int8: let the network know smaller cells, on a coarser grid"
        )
    if any(side < card.stride or side % card.stride for side in settings.patch):
        raise InputError(f"patch is {settings.patch}; allowed are multiples of {card.stride}: choose such a patch")
