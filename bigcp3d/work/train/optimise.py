"""One step of a training: losses, gradients, the running average of the weights. And losses on held-out data.

As in Eschweiler and Stegmaier 2021: L1 loss on the foreground, squared error on the flow, weighted by the foreground,
and RAdam. The learning rate falls along a cosine. The model is a running average of the weights. A step draws no random
numbers, so its result follows from the state of the parts and the batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from bigcp3d.pure.predict.network import make_network
from bigcp3d.work.train.batches import Batch, Recipe
from bigcp3d.work.train.settings import TrainSettings

AVERAGE = 0.998
"""Weight of the running average in each step, after the first few thousand."""

LOSSES = ("foreground", "flow")
ON_PATCHES = ("val_foreground", "val_flow", "val_dice")


@dataclass(frozen=True)
class Device:
    """Where a network is trained ("cpu" or "cuda"), and whether activations are bfloat16 (weights are float32)."""

    kind: str
    bfloat16: bool


def compute_loss(output: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Foreground loss (L1), and flow loss (squared error, mean of the axes, weight 1 on cells and 0.01 on background).

    ``output`` and ``target`` are (n, 4, z, y, x); ``weights`` are (n, 1, z, y, x), 0 where nothing is known.
    """
    foreground = ((output[:, :1] - target[:, :1]).abs() * weights).sum() / weights.sum().clamp(min=1)
    weight = target[:, :1].clamp(min=0.01) * weights
    flow = (torch.square(output[:, 1:] - target[:, 1:]) * weight).sum() / (3 * weight.sum().clamp(min=1))
    return foreground, flow


def _losses(network: nn.Module, batch: Batch, device: Device) -> tuple[Tensor, Tensor, Tensor]:
    """Output, foreground loss and flow loss of a batch."""
    image, target, weights = (torch.from_numpy(part).to(device.kind) for part in batch)
    with torch.autocast(device.kind, torch.bfloat16, enabled=device.bfloat16):
        output: Tensor = network(image)
    return (output.float(), *compute_loss(output.float(), target, weights))


def losses_on(network: nn.Module, batches: Sequence[Batch], device: Device) -> dict[str, float]:
    """Mean losses on batches, and the Dice of the foreground over all their voxels together."""
    losses, overlap, total = [], 0, 0
    with torch.inference_mode():
        for batch in batches:
            _, target, weights = batch
            output, foreground, flow = _losses(network, batch, device)
            losses.append((foreground.item(), flow.item()))
            inside = weights[:, 0] > 0
            found, true = (output[:, 0].cpu().numpy() > 0.5) & inside, (target[:, 0] > 0.5) & inside
            overlap += 2 * int((found & true).sum())
            total += int(found.sum()) + int(true.sum())
    mean_foreground, mean_flow = np.mean(losses, axis=0).tolist()
    return dict(zip(ON_PATCHES, (mean_foreground, mean_flow, overlap / max(total, 1)), strict=True))


@torch.no_grad()
def _average(
    averaged: tuple[Tensor, ...] | list[Tensor], current: tuple[Tensor, ...] | list[Tensor], number: Tensor | int
) -> None:
    """Move the averaged weights towards the current ones; faster in the first steps."""
    n = float(number)
    torch._foreach_lerp_(averaged, current, 1 - min(AVERAGE, (1 + n) / (10 + n)))


class Parts:
    """The parts of a training whose state changes with every step."""

    def __init__(
        self, recipe: Recipe, settings: TrainSettings, device: Device, start: Mapping[str, Tensor] | None = None
    ) -> None:
        card = recipe.card
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            network = make_network(card.architecture, card.channels, card.features, card.depth)
        if start is not None:
            network.load_state_dict(start)
        self.network = network.to(device.kind)
        self.smooth = AveragedModel(self.network, multi_avg_fn=_average)
        self.optimiser = torch.optim.RAdam(self.network.parameters(), lr=settings.learning_rate)
        self.decay = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda n: 0.5 + 0.5 * math.cos(math.pi * min(1.0, n / settings.steps))
        )

    def state(self) -> dict[str, Any]:
        """State of each part, by name."""
        return {name: part.state_dict() for name, part in vars(self).items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Set each part to what `state` gave. The learning rate follows the steps that are asked for now."""
        for name, part in vars(self).items():
            part.load_state_dict(state[name])
        for group, start, fall in zip(
            self.optimiser.param_groups, self.decay.base_lrs, self.decay.lr_lambdas, strict=True
        ):
            group["lr"] = start * fall(self.decay.last_epoch)

    def step(self, batch: Batch, device: Device) -> tuple[float, float]:
        """One step of the optimisation; its losses."""
        _, foreground, flow = _losses(self.network, batch, device)
        self.optimiser.zero_grad(set_to_none=True)
        (foreground + flow).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.decay.step()
        self.smooth.update_parameters(self.network)
        return foreground.item(), flow.item()

    @property
    def model(self) -> nn.Module:
        """The network with the averaged weights."""
        averaged: nn.Module = self.smooth.module
        return averaged
