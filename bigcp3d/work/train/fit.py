"""The loop of a training: steps, validations, checkpoints and the learning curve.

On one processor, a training that was stopped and resumed ends with the same weights and the same learning curve as one
that was not, bit for bit. A step depends only on the state in the checkpoint, on the number of steps asked for, and on
its batch, which follows from the seed and the number of the step (`bigcp3d.work.train.batches`).

With more steps than before, a resumed training goes on with the batches and the learning rate of a training that was
asked for so many from the start. Its weights are others, since the rate fell faster in the steps before.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from bigcp3d.edge.models.model_families import load_network
from bigcp3d.errors import BigCP3DError
from bigcp3d.work.plan.name_differences import name_differences
from bigcp3d.work.train.batches import Batch, Recipe, make_batches
from bigcp3d.work.train.checkpoint import Checkpoint, Row, check_alike, checkpoint_of, save_checkpoint
from bigcp3d.work.train.learning_curve import find_best, stale, write_curve
from bigcp3d.work.train.optimise import LOSSES, ON_PATCHES, Device, Parts, losses_on
from bigcp3d.work.train.remembered_options import options_of
from bigcp3d.work.train.sample_cache import SampleCache
from bigcp3d.work.train.settings import TrainSettings
from bigcp3d.work.train.validate import ON_REGIONS, Region, score_regions

T = TypeVar("T")

log = logging.getLogger(__name__)


def time_each(items: Iterable[T], waited: list[float]) -> Iterator[T]:
    """The same items; the time that each took to come is added to ``waited[0]``, in seconds."""
    began = time.monotonic()
    for item in items:
        waited[0] += time.monotonic() - began
        yield item
        began = time.monotonic()


@dataclass(frozen=True)
class Validated:
    """A validation is over: its row of the learning curve, and the CSV file that now ends with it."""

    row: Row
    curve: Path


@dataclass(frozen=True)
class Trained(Validated):
    """The training is over, and the model is written. The row is the last one.

    ``diameters`` are those of the cells of each volume, each with whether it is in um (else in voxels). ``channels``
    are those that a user has to name, empty where the model's card does.
    """

    model: Path
    diameters: Mapping[str, tuple[float, bool]]
    channels: Sequence[int | str]


class Training:
    """A training: its parts, the learning curve, the best weights so far, and where these are kept.

    ``checks`` are batches on which losses are measured, and ``regions`` are segmented; both may be empty. ``identity``
    is all that decides the result, as JSON: a checkpoint with other values is refused.
    """

    def __init__(
        self,
        recipe: Recipe,
        checks: Sequence[Batch],
        regions: Sequence[Region],
        settings: TrainSettings,
        device: Device,
        identity: dict[str, Any],
        cache: SampleCache | None = None,
    ) -> None:
        before = None if settings.start is None else load_network(settings.start)[0].state_dict()
        self.recipe, self.checks, self.regions, self.settings, self.device = recipe, checks, regions, settings, device
        self.parts = Parts(recipe, settings, device, before)
        self.identity, self.cache = identity, cache
        self.machine = {  # what may change the last bits of a sum
            "torch": torch.__version__,
            "device": device.kind,
            "bfloat16": device.bfloat16,
            "threads": torch.get_num_threads(),
        }
        self.rows: list[Row] = []
        self.best: dict[str, Tensor] | None = None
        self.done = 0
        self.checkpoint = checkpoint_of(settings.output)
        self.curve = Path(settings.output).with_suffix(".losses.csv")

    def run(
        self, checkpoint: Checkpoint | None = None, on_event: Callable[[Validated], object] | None = None
    ) -> nn.Module:
        """Train a network, from the first step or from a checkpoint.

        Errors: `InputError` for a checkpoint of other settings (nothing is changed then); `BigCP3DError` for a loss
        that is no number, or a dead worker; `TargetError` for a full disk.
        """
        settings = self.settings
        if checkpoint is not None:
            self._restore(checkpoint)
            self._write_curve()
        else:
            if settings.start is not None and (self.checks or self.regions):
                self._keep(self._add_row({"step": 0}), on_event)
            self._save()
        first, began, losses = self.done, time.monotonic(), list[tuple[float, float]]()
        steps = range(first, 0 if self._is_over() else settings.steps)
        waited = [0.0]
        with closing(make_batches(self.recipe, steps, settings.workers, self.cache)) as batches:
            for self.done, batch in zip(range(first + 1, settings.steps + 1), time_each(batches, waited), strict=False):
                losses.append(self.parts.step(batch, self.device))
                if self.done % settings.every and self.done != settings.steps:
                    continue
                row = self._validate(losses)
                losses.clear()
                numbers = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "step")
                pace = (time.monotonic() - began) / (self.done - first)
                wait = waited[0] / (self.done - first)
                text = "step %d of %d, %.2f s each, of which %.2f s waiting for samples: %s"
                log.info(text, row["step"], settings.steps, pace, wait, numbers)
                self._keep(row, on_event)
                if self._is_over():
                    break
        return self._choose_model()

    def _keep(self, row: Row, on_event: Callable[[Validated], object] | None) -> None:
        """Write the checkpoint and the learning curve after a validation, and tell it."""
        self._save()
        if on_event is not None:
            on_event(Validated(row, self.curve))

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Go back to the checkpoint."""
        check_alike(self.checkpoint, checkpoint, self.identity, self.settings.steps)
        for difference in name_differences(checkpoint.machine, self.machine):
            log.warning("the training continues, but its results may differ slightly: %s", difference)
        self.parts.restore(checkpoint.state)
        self.rows, self.best, self.done = checkpoint.rows, checkpoint.best, checkpoint.step

    def _validate(self, losses: Sequence[tuple[float, float]]) -> Row:
        """Validate after steps with these losses, and add the row."""
        row = {"step": self.done, **dict(zip(LOSSES, np.mean(losses, axis=0).tolist(), strict=True))}
        if not math.isfinite(row["foreground"] + row["flow"]):
            raise BigCP3DError(
                f"the loss became infinite or NaN at step {self.done}; the checkpoint before it is kept. Give a "
                f"learning rate below {self.settings.learning_rate:g}, and resume"
            )
        return self._add_row(row)

    def _add_row(self, row: Row) -> Row:
        """Score the network on what is held out, and add the row; the best weights are kept."""
        if self.checks:
            row |= losses_on(self.parts.model, self.checks, self.device)
        if self.regions:  # predicted in the precision of the training
            dtype = torch.bfloat16 if self.device.bfloat16 else torch.float32
            row |= score_regions(copy.deepcopy(self.parts.model).to(dtype), self.regions, self.recipe.card)
        self.rows.append({name: round(value, 5) for name, value in row.items()})
        if find_best(self.rows) == len(self.rows) - 1:
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.parts.model.state_dict().items()}
        return self.rows[-1]

    def _save(self) -> None:
        """Write the checkpoint, and then the learning curve."""
        options, state = options_of(self.settings), self.parts.state()
        now = Checkpoint(self.done, options, self.identity, self.machine, self.rows, state, self.best)
        save_checkpoint(self.checkpoint, now)
        self._write_curve()

    def _write_curve(self) -> None:
        columns = (*LOSSES, *(ON_PATCHES if self.checks else ()), *(ON_REGIONS if self.regions else ()))
        write_curve(self.curve, self.rows, ("step", *columns))

    def _is_over(self) -> bool:
        """Whether patience has run out."""
        over = 0 < self.settings.patience <= stale(self.rows)
        if over:
            log.info("no gain in %d validations: the training ends at step %d", stale(self.rows), self.done)
        return over

    def _choose_model(self) -> nn.Module:
        """The network with the best weights, or the last ones."""
        if self.settings.keep == "best" and self.best is not None:
            self.parts.model.load_state_dict(self.best)
            log.info("the model is that of step %d", self.rows[find_best(self.rows) or 0]["step"])
        return self.parts.model
