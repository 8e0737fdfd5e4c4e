"""Checks before a training starts: where the model goes, the device, the channels, the card."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
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
from bigcp3d.pure.track.units import MAX_REACH
from bigcp3d.version import __version__
from bigcp3d.work.train.checkpoint import checkpoint_of, load_checkpoint
from bigcp3d.work.train.optimise import Device
from bigcp3d.work.train.settings import TrainSettings

log = logging.getLogger(__name__)

STANDARD: dict[str, Any] = {
    **{"representation": "tanh", "diameter_vox": 16.0, "scale_vox": None},
    **{"architecture": "eschweiler", "channels": 1, "channel_names": (), "features": 16, "depth": 4},
    **{"patch": (96, 96, 96), "margin": 12},
    **{"low_percentile": 1.0, "high_percentile": 99.5, "clip": (-0.5, 2.5)},
}
"""The form of a model by default; ``scale_vox`` None is a fifth of the diameter."""


def check_model_path(target: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse to overwrite a model, a learning curve or a checkpoint, unless the user asked for it."""
    refuse_address(target, "the model's file", "write it there and copy it")
    if target.is_dir():
        raise TargetError(f"{target} is a folder; a model is one file: give its path, such as {target}/my.safetensors")
    if target.suffix != ".safetensors":
        raise TargetError(
            f"{target}: a model is a .safetensors file: give such a name, for example {target.name}.safetensors"
        )
    curve, kept = target.with_suffix(".losses.csv"), checkpoint_of(target)
    if not (overwrite or resume):
        began = ((target, target.exists()), (kept, _has_steps(kept)), (curve, _has_rows(curve)))
        for path in (path for path, there in began if there):
            raise TargetError(f"{path} exists; give another path, resume, or overwrite it")
    check_folder(target.parent, target)


def _has_rows(curve: Path) -> bool:
    """Whether a learning curve holds more than its heading and the score of the model to start from."""
    return curve.is_file() and any(not line.startswith(b"0,") for line in curve.read_bytes().splitlines()[1:])


def _has_steps(checkpoint: Path) -> bool:
    """Whether a checkpoint holds work: that of a training which was stopped at once does not."""
    if not checkpoint.exists():
        return False
    try:
        return load_checkpoint(checkpoint).step > 0
    except InputError:
        return True


def choose_device(device: str | None, precision: str = "auto") -> Device:
    """Where to compute: by default on a GPU if there is one, and in bfloat16 where that is fast ("auto")."""
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not torch.cuda.is_available()):
        there = "cpu or cuda" if torch.cuda.is_available() else "cpu (torch finds no CUDA device here)"
        raise InputError(f"device is {kind!r}; use {there}, or leave it out")
    return Device(kind, (fast_precision(kind) if precision == "auto" else precision) == "bfloat16")


def avoid_wrong_gradients(device: Device, card: ModelCard, patch: Vec3, precision: str) -> Device:
    """The device, in float32 where gradients in bfloat16 would be wrong; refused where bfloat16 was asked for.

    In bfloat16 on a processor, torch 2.13 (through oneDNN) computes the weights' gradient of a 3 x 3 x 3 convolution
    wrongly where its input is two voxels deep: numbers up to 1e38 or NaN, while the output and the loss look right.
    Width, height and other depths do no harm. A network halves its patch, so shallow patches get that thin.
    """
    if device.kind != "cpu" or not device.bfloat16 or patch[0] > 2 * card.stride:
        return device
    cure = f"a patch of more than {2 * card.stride} voxels in z can be trained in bfloat16"
    if precision == "bfloat16":
        raise InputError(
            f"patch is {patch}, which the network shrinks to two voxels in z. On a processor, training in bfloat16 "
            f"goes wrong there: leave the precision out (float32), or make the patch deeper: {cure}"
        )
    log.warning("patch %s is shallow, so training is in float32; %s, which is faster", patch, cure)
    return replace(device, bfloat16=False)


def choose_channels(settings: TrainSettings) -> tuple[int | str, ...]:
    """The channels of the volumes that are read: as asked, else those that the model to start from names."""
    start, given = settings.start, settings.channel
    if isinstance(given, int | str):
        given = (given,)
    chosen = tuple(given or (0,))
    if start is not None:
        before = load_card(start)
        named = before.channel_names if before.channels > 1 else ()
        chosen = tuple(given or named or range(before.channels))
        if len(chosen) != before.channels:
            raise InputError(
                f"{len(chosen)} channels were given, but {start} takes {before.channels}: give as many, in its order "
                f"({', '.join(before.channel_names) or 'its card names none'})"
            )
    if len(chosen) > 1 and (settings.painted or settings.simulate):
        kind = "painted" if settings.painted else "simulated"
        text = f"{len(chosen)} channels were given, but {kind} tissue shows one stain"
        raise InputError(f"{text}; leave the {kind} tissue out, or train with one channel")
    return chosen


def _is_name(channel: int | str) -> bool:
    """Whether a channel was given by a name, and not by a number."""
    return isinstance(channel, str) and not channel.removeprefix("#").isdecimal()


def make_card(settings: TrainSettings, channels: Sequence[int | str]) -> ModelCard:
    """The card of the model: what the user leaves out is as in the card of ``start``, or else as in `STANDARD`."""
    form = _form(settings, channels)
    try:
        card = ModelCard(
            **form,
            name=settings.name or Path(settings.output).stem,
            training=settings.description
            or ", ".join(map(str, [*settings.volumes, *settings.from_edits, *settings.painted])),
            date=date.today().isoformat(),
            bigcp3d_version=__version__,
            command=" ".join(sys.argv),
        )
    except ValidationError as error:
        wrong = (
            f"{'.'.join(map(str, e['loc']))} {e['input']!r}: {e['msg']}" if e["loc"] else e["msg"]
            for e in error.errors()
        )
        raise InputError(f"these values do not fit together ({'; '.join(wrong)}): change them") from error
    _check_sizes(card, settings.patch)
    return card


def _form(settings: TrainSettings, channels: Sequence[int | str]) -> dict[str, Any]:
    """The fields of a card that decide the network and what it sees. Refuses another network than that of ``start``."""
    start = settings.start
    low, high = settings.percentiles or (None, None)
    asked = {
        "representation": settings.representation,
        "scale_vox": settings.tanh_scale_vox,
        "diameter_vox": settings.diameter_vox,
        "architecture": settings.architecture,
        "features": settings.features,
        "depth": settings.depth,
        "channels": len(channels),
        "channel_names": tuple(map(str, channels)) if all(map(_is_name, channels)) else None,
        "patch": settings.prediction_patch,
        "margin": settings.margin,
        "low_percentile": low,
        "high_percentile": high,
    }
    before = STANDARD if start is None else load_card(start).model_dump(include={*STANDARD, "min_foreground"})
    form = {**before, **{name: value for name, value in asked.items() if value is not None}}
    if form["scale_vox"] is None:
        form["scale_vox"] = form["diameter_vox"] / 5
    if form["architecture"] not in OWN_ARCHITECTURES:
        raise InputError(f"architecture is {form['architecture']!r}; use {' or '.join(OWN_ARCHITECTURES)}")
    for name in ("architecture", "features", "depth", "channels"):
        if start is not None and form[name] != before[name]:
            raise InputError(
                f"{name} is {form[name]}, but the network to start from, {start}, has {before[name]}: leave {name} "
                "out, or start from random weights"
            )
    return form


def _check_sizes(card: ModelCard, patch: Vec3) -> None:
    """Refuse a diameter whose paths are too long to be stored, and patches that the network cannot halve."""
    if card.diameter_vox > 2 * MAX_REACH / 3:
        raise InputError(
            f"diameter_vox is {card.diameter_vox:g}; use at most {2 * MAX_REACH // 3}, because paths of three radii "
            "are stored in int8. Images are resampled to this diameter"
        )
    if any(side < card.stride or side % card.stride for side in patch):
        raise InputError(f"patch is {patch}; use multiples of {card.stride}")
