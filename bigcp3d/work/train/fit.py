"""The loop of a training: steps, validations, checkpoints and the learning curve.

A training that was stopped and resumed ends with the weights and the learning curve of one that was not, bit for bit on
one processor: a step depends only on its batch, which follows from the seed and its number
(`bigcp3d.work.train.batches`), and on what the checkpoint holds.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bigcp3d.edge.models.model_families import load_network
from bigcp3d.errors import BigCP3DError
from bigcp3d.work.train.batches import Batch, Recipe, make_batches
from bigcp3d.work.train.checkpoint import Checkpoint, Row, list_differences, load_checkpoint, save_checkpoint
from bigcp3d.work.train.learning_curve import find_best, stale, write_curve
from bigcp3d.work.train.optimise import LOSSES, ON_PATCHES, Device, Parts, losses_on
from bigcp3d.work.train.settings import TrainSettings
from bigcp3d.work.train.validate import ON_REGIONS, Region, score_regions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Validated:
    """A validation is over: its row of the learning curve, and the CSV file that now ends with it."""

    row: Row
    curve: Path


class Training:
    """A training between two steps: its parts, the learning curve, the best weights so far, and where they are kept."""

    def __init__(
        self,
        recipe: Recipe,
        checks: Sequence[Batch],
        regions: Sequence[Region],
        settings: TrainSettings,
        device: Device,
        identity: Mapping[str, Any],
    ) -> None:
        before = None if settings.start is None else load_network(settings.start)[0].state_dict()
        self.recipe, self.checks, self.regions, self.settings, self.device = recipe, checks, regions, settings, device
        self.identity, self.machine = dict(identity), describe_machine(device)
        self.parts = Parts(recipe, settings, device, before)
        self.rows: list[Row] = []
        self.best: dict[str, Tensor] | None = None
        self.done = 0
        self.checkpoint = Path(settings.output).with_suffix(".checkpoint.pt")
        self.curve = Path(settings.output).with_suffix(".losses.csv")

    def restore(self) -> None:
        """Go back to the checkpoint."""
        checkpoint = load_checkpoint(self.checkpoint, self.identity)
        for difference in list_differences(checkpoint.machine, self.machine):
            log.warning("goes on, but perhaps not to the last bit: %s", difference)
        self.parts.restore(checkpoint.state)
        self.rows, self.best, self.done = checkpoint.rows, checkpoint.best, checkpoint.step

    def validate(self, losses: Sequence[tuple[float, float]]) -> Row:
        """Validate after a stretch of steps with these losses, and note the row."""
        row = {"step": self.done, **dict(zip(LOSSES, np.mean(losses, axis=0).tolist(), strict=True))}
        if not math.isfinite(row["foreground"] + row["flow"]):
            raise BigCP3DError(
                f"the loss is no longer a number at step {self.done}; the checkpoint before it is kept: give a "
                f"learning rate below {self.settings.learning_rate:g}, and resume"
            )
        if self.checks:
            row |= losses_on(self.parts.model, self.checks, self.device)
        if self.regions:  # predicted in the precision that trains
            dtype = torch.bfloat16 if self.device.bfloat16 else torch.float32
            row |= score_regions(copy.deepcopy(self.parts.model).to(dtype), self.regions, self.recipe.card)
        self.rows.append({name: round(value, 5) for name, value in row.items()})
        if find_best(self.rows) == len(self.rows) - 1:
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.parts.model.state_dict().items()}
        return self.rows[-1]

    def save(self) -> None:
        """Write the checkpoint, and then the learning curve."""
        state = Checkpoint(self.done, self.identity, self.machine, self.rows, self.parts.state(), self.best)
        save_checkpoint(self.checkpoint, state)
        self.write_curve()

    def write_curve(self) -> None:
        """Write the learning curve anew."""
        columns = (*LOSSES, *(ON_PATCHES if self.checks else ()), *(ON_REGIONS if self.regions else ()))
        write_curve(self.curve, self.rows, ("step", *columns))

    def is_over(self) -> bool:
        """Whether patience has run out."""
        over = 0 < self.settings.patience <= stale(self.rows)
        if over:
            log.info("no gain in %d validations: the training ends at step %d", stale(self.rows), self.done)
        return over

    def choose_model(self) -> nn.Module:
        """The network with the best weights, or the last ones."""
        if self.settings.keep == "best" and self.best is not None:
            self.parts.model.load_state_dict(self.best)
            log.info("the model is that of step %d", self.rows[find_best(self.rows) or 0]["step"])
        return self.parts.model


def fit(
    recipe: Recipe,
    checks: Sequence[Batch],
    regions: Sequence[Region],
    settings: TrainSettings,
    device: Device,
    *,
    identity: Mapping[str, Any],
    on_event: Callable[[Validated], object] | None = None,
) -> nn.Module:
    """Optimise a network, from the first step or from the checkpoint beside the model.

    Parameters
    ----------
    recipe : Recipe
        Of the batches.
    checks, regions : sequence of Batch, sequence of Region
        To measure losses on, and to segment; may be empty.
    settings, device : TrainSettings, Device
    identity : mapping
        All that decides the result, JSON: a checkpoint with other values is refused.
    on_event : callable, optional
        Told of each validation.

    Raises
    ------
    InputError
        The checkpoint is damaged or was made with other settings; nothing was changed.
    BigCP3DError
        The loss is no longer a number, or a worker died.
    TargetError
        A checkpoint cannot be written.
    """
    training = Training(recipe, checks, regions, settings, device, identity)
    if settings.resume and training.checkpoint.exists():
        training.restore()
    training.write_curve()
    first, began, losses = training.done, time.monotonic(), list[tuple[float, float]]()
    steps = range(first, 0 if training.is_over() else settings.steps)
    with closing(make_batches(recipe, steps, settings.workers)) as batches:
        for training.done, batch in zip(range(first + 1, settings.steps + 1), batches, strict=False):
            losses.append(training.parts.step(batch, device))
            if training.done % settings.every and training.done != settings.steps:
                continue
            row = training.validate(losses)
            losses.clear()
            numbers = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "step")
            pace = (time.monotonic() - began) / (training.done - first)
            log.info("step %d of %d, %.2f s each: %s", row["step"], settings.steps, pace, numbers)
            training.save()
            if on_event is not None:
                on_event(Validated(row, training.curve))
            if training.is_over():
                break
    return training.choose_model()


def describe_machine(device: Device) -> dict[str, Any]:
    """What may change the last bits of a sum."""
    return {
        "torch": torch.__version__,
        "device": device.kind,
        "bfloat16": device.bfloat16,
        "threads": torch.get_num_threads(),
    }
