"""The optimisation of a network: batches, losses, steps, checkpoints.

Follows Eschweiler and Stegmaier 2021: L1 loss on the foreground, foreground-weighted squared error on the flow, RAdam.
The learning rate falls along a cosine.

Invariant: the samples of step n depend on the seed and n alone, so a run that was stopped goes on with what it would
have seen.
"""

from __future__ import annotations

import csv
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bigcp3d.edge.models import ModelCard
from bigcp3d.pure.augment import cut_border, degrade, turn
from bigcp3d.pure.boxes import Vec3, vec3
from bigcp3d.pure.network import UNet3D
from bigcp3d.pure.targets import heat_flow, tanh_flow
from bigcp3d.work.samples import Source

log = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor, Tensor]
"""Images (n, 1, z, y, x), targets (n, 4, z, y, x), and where these are known (n, 1, z, y, x), all float32."""

COLUMNS = ("step", "foreground", "flow", "val_foreground", "val_flow", "val_dice")


@dataclass(frozen=True)
class Schedule:
    """How long and how to optimise; ``every`` steps there are a validation and a checkpoint."""

    steps: int
    patch: Vec3
    batch: int
    lr: float
    seed: int
    every: int
    device: str
    bfloat16: bool


def compute_loss(output: Tensor, target: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Foreground and flow loss.

    Parameters
    ----------
    output, target : Tensor, shape (n, 4, z, y, x)
        Foreground and flow.
    known : Tensor, shape (n, 1, z, y, x)
        1 where the target is the truth, else 0.

    Returns
    -------
    foreground, flow : Tensor
        L1; and squared error with weight 1 on cells and 0.01 on background, averaged over the axes.
    """
    foreground = ((output[:, :1] - target[:, :1]).abs() * known).sum() / known.sum().clamp(min=1)
    weight = target[:, :1].clamp(min=0.01) * known
    flow = (torch.square(output[:, 1:] - target[:, 1:]) * weight).sum() / (3 * weight.sum().clamp(min=1))
    return foreground, flow


def make_sample(
    source: Source, rng: np.random.Generator, patch: Vec3, card: ModelCard, *, augment: bool = True
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Image (z, y, x), target (4, z, y, x) and known (z, y, x) of one patch.

    Drawn larger by about a cell, so that the centre of a cell that the patch cuts is that of the whole cell; y and x of
    a patch are equally long.
    """
    margin = math.ceil(0.75 * card.diameter_vox)
    sample = source.draw(rng, vec3(p + 2 * margin for p in patch))
    if augment:
        sample = cut_border(turn(sample, rng), rng)
    flow = tanh_flow(sample.labels, card.scale_vox) if card.representation == "tanh" else heat_flow(sample.labels)
    inner = tuple(slice(margin, margin + p) for p in patch)
    image = sample.image[inner]
    image = degrade(image, rng, card.clip) if augment else image
    target = np.concatenate([(sample.labels[inner] > 0)[None].astype(np.float32), flow[(slice(None), *inner)]])
    return image, target, sample.known[inner].astype(np.float32)


def make_batch(
    sources: Sequence[tuple[float, Source]],
    seed: Sequence[int],
    batch: int,
    patch: Vec3,
    card: ModelCard,
    *,
    augment: bool = True,
) -> Batch:
    """``batch`` patches, from sources that are drawn by their weights."""
    rng = np.random.default_rng(list(seed))
    weights = np.array([weight for weight, _ in sources])
    chosen = rng.choice(len(sources), size=batch, p=weights / weights.sum())
    parts = [make_sample(sources[i][1], rng, patch, card, augment=augment) for i in chosen]
    image, target, known = (torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True))
    return image[:, None], target, known[:, None]


def _forward(network: UNet3D, image: Tensor, schedule: Schedule) -> Tensor:
    with torch.autocast(schedule.device, torch.bfloat16, enabled=schedule.bfloat16):
        output: Tensor = network(image.to(schedule.device))
    return output.float()


def measure(network: UNet3D, batches: Sequence[Batch], schedule: Schedule) -> dict[str, float]:
    """Mean losses, and the Dice of the foreground over all voxels together."""
    losses, overlap, total = [], 0, 0
    with torch.inference_mode():
        for image, target, known in batches:
            output = _forward(network, image, schedule).cpu()
            losses.append([v.item() for v in compute_loss(output, target, known)])
            found, true = (output[:, :1] > 0.5) & (known > 0), (target[:, :1] > 0.5) & (known > 0)
            overlap += 2 * int((found & true).sum())
            total += int(found.sum()) + int(true.sum())
    foreground, flow = np.mean(losses, axis=0)
    return dict(zip(COLUMNS[3:], (float(foreground), float(flow), overlap / max(total, 1)), strict=True))


def fit(
    sources: Sequence[tuple[float, Source]],
    checks: Sequence[Batch],
    target: Path,
    card: ModelCard,
    schedule: Schedule,
    *,
    resume: bool,
) -> UNet3D:
    """Optimise a network.

    Parameters
    ----------
    sources : sequence of (float, Source)
        With their weights.
    checks : sequence of Batch
        To validate on; may be empty.
    target : Path
        The model file to be; losses (``.losses.csv``) and checkpoint (``.checkpoint.pt``) lie beside it.
    card, schedule : ModelCard, Schedule
    resume : bool
        Go on from the checkpoint, where there is one.

    Returns
    -------
    UNet3D
    """
    torch.manual_seed(schedule.seed)
    network = UNet3D(card.channels, card.features, card.depth).to(schedule.device)
    optimiser = torch.optim.RAdam(network.parameters(), lr=schedule.lr)
    decay = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda n: 0.5 + 0.5 * math.cos(math.pi * min(1.0, n / schedule.steps))
    )
    parts: dict[str, Any] = {"network": network, "optimiser": optimiser, "decay": decay}
    saved, table = target.with_suffix(".checkpoint.pt"), target.with_suffix(".losses.csv")
    first = _restore(saved, parts) if resume and saved.exists() else 0
    if not first:
        _append(table, COLUMNS if checks else COLUMNS[:3], mode="w")
    start, recent = time.monotonic(), []
    for step in range(first, schedule.steps):
        image, goal, known = make_batch(sources, (schedule.seed, step), schedule.batch, schedule.patch, card)
        foreground, flow = compute_loss(
            _forward(network, image, schedule), goal.to(schedule.device), known.to(schedule.device)
        )
        optimiser.zero_grad(set_to_none=True)
        (foreground + flow).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        decay.step()
        recent.append((foreground.item(), flow.item()))
        if (step + 1) % schedule.every == 0 or step + 1 == schedule.steps:
            values = measure(network, checks, schedule) if checks else {}
            losses = [round(float(v), 5) for v in (*np.mean(recent, axis=0), *values.values())]
            _append(table, [step + 1, *losses])
            pace = (time.monotonic() - start) / (step + 1 - first)
            log.info(
                "step %d of %d, %.2f s each: %s",
                step + 1, schedule.steps, pace, dict(zip(COLUMNS[1:], losses, strict=False)),
            )  # fmt: skip
            recent = []
            torch.save({"step": step + 1, **{name: part.state_dict() for name, part in parts.items()}}, saved)
    return network


def _restore(saved: Path, parts: dict[str, Any]) -> int:
    """Load a checkpoint (tensors and numbers only, no code); the steps done."""
    state = torch.load(saved, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])


def _append(table: Path, row: Sequence[object], mode: str = "a") -> None:
    with table.open(mode, newline="") as file:
        csv.writer(file).writerow(row)
