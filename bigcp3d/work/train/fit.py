"""Training from the first step, or from a checkpoint, to the last: steps, validations, checkpoints, the learning curve.

Invariant: a run that was stopped and goes on from its checkpoint ends with the weights and the learning curve of one
that was not, bit for bit on one processor. All that a step depends on is its batch, which follows from the seed and the
step (`bigcp3d.work.train.batches`), and what the checkpoint holds.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bigcp3d.edge.models.model_families import load_network
from bigcp3d.errors import BigCP3DError
from bigcp3d.work.train.batches import Batch, Recipe, make_batches
from bigcp3d.work.train.checkpoint import Checkpoint, Row, list_differences, load_checkpoint, save_checkpoint
from bigcp3d.work.train.learning_curve import find_best, stale, write_curve
from bigcp3d.work.train.optimise import LOSSES, ON_PATCHES, Parts, Schedule, measure
from bigcp3d.work.train.validate import ON_REGIONS, Region, score_regions

log = logging.getLogger(__name__)


def fit(
    recipe: Recipe,
    checks: Sequence[Batch],
    regions: Sequence[Region],
    target: Path,
    schedule: Schedule,
    *,
    start: str | Path | None = None,
    settings: Mapping[str, Any],
    resume: bool,
    watch: Callable[[Path], object] | None = None,
) -> nn.Module:
    """Optimise a network.

    Parameters
    ----------
    recipe : Recipe
        Of the batches.
    checks, regions : sequence of Batch, sequence of Region
        To measure losses on, and to segment; may be empty.
    target : Path
        The model file to be; learning curve (``.losses.csv``) and checkpoint (``.checkpoint.pt``) lie beside it.
    schedule : Schedule
    start : str or Path, optional
        The model whose weights the training begins with; None: random ones.
    settings : mapping
        All that decides the result, JSON: a checkpoint with others is refused.
    resume : bool
        Go on from the checkpoint, where there is one.
    watch : callable, optional
        Called with the path of the learning curve whenever that was written.

    Returns
    -------
    nn.Module

    Raises
    ------
    InputError
        The checkpoint is damaged or was made with other settings; nothing was changed.
    BigCP3DError
        The loss is no longer a number, or a worker died.
    TargetError
        A checkpoint cannot be written.
    """
    before = None if start is None else load_network(start)[0].state_dict()
    parts, rows, best, first = Parts(recipe, schedule, before), list[Row](), None, 0
    saved, table = target.with_suffix(".checkpoint.pt"), target.with_suffix(".losses.csv")
    columns = ("step", *LOSSES, *(ON_PATCHES if checks else ()), *(ON_REGIONS if regions else ()))
    machine = describe_machine(schedule)
    if resume and saved.exists():
        checkpoint = load_checkpoint(saved, dict(settings))
        for difference in list_differences(checkpoint.machine, machine):
            log.warning("goes on, but perhaps not to the last bit: %s", difference)
        parts.restore(checkpoint.state)
        rows, best, first = checkpoint.rows, checkpoint.best, checkpoint.step
    write_curve(table, rows, columns)
    steps = range(first, 0 if _is_over(rows, schedule) else schedule.steps)
    began, recent = time.monotonic(), []
    with closing(make_batches(recipe, steps, schedule.workers)) as batches:
        for done, batch in zip(range(first + 1, schedule.steps + 1), batches, strict=False):
            recent.append(parts.step(batch, schedule))
            if done % schedule.every and done != schedule.steps:
                continue
            row = {"step": done, **dict(zip(LOSSES, np.mean(recent, axis=0).tolist(), strict=True))}
            recent = []
            if not math.isfinite(row["foreground"] + row["flow"]):
                raise BigCP3DError(
                    f"found a loss that is no number by step {done}; finite ones are needed, and the checkpoint before "
                    f"it is kept: give a learning rate below {schedule.lr:g}"
                )
            row |= _validate(parts.model, checks, regions, recipe, schedule)
            rows.append({name: round(value, 5) for name, value in row.items()})
            if find_best(rows) == len(rows) - 1:
                best = {name: tensor.detach().cpu().clone() for name, tensor in parts.model.state_dict().items()}
            _report(rows[-1], schedule, (time.monotonic() - began) / (done - first))
            save_checkpoint(saved, Checkpoint(done, dict(settings), machine, rows, parts.state(), best))
            write_curve(table, rows, columns)
            if watch is not None:
                watch(table)
            if _is_over(rows, schedule):
                break
    if schedule.keep == "best" and best is not None:
        parts.model.load_state_dict(best)
        log.info("the model is that of step %d", rows[find_best(rows) or 0]["step"])
    return parts.model


def _is_over(rows: Sequence[Row], schedule: Schedule) -> bool:
    """Whether patience has run out."""
    over = 0 < schedule.patience <= stale(rows)
    if over:
        log.info("no gain in %d validations: the training ends at step %d", stale(rows), rows[-1]["step"])
    return over


def _validate(
    model: nn.Module, checks: Sequence[Batch], regions: Sequence[Region], recipe: Recipe, schedule: Schedule
) -> dict[str, float]:
    """Losses on the checks, scores of the regions; regions are predicted in the precision that trains."""
    found = measure(model, checks, schedule) if checks else {}
    if regions:
        fast = copy.deepcopy(model).to(torch.bfloat16 if schedule.bfloat16 else torch.float32)
        found |= score_regions(fast, regions, recipe.card)
    return found


def _report(row: Row, schedule: Schedule, pace: float) -> None:
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "step")
    log.info("step %d of %d, %.2f s each: %s", row["step"], schedule.steps, pace, numbers)


def describe_machine(schedule: Schedule) -> dict[str, Any]:
    """What may change the last bits of a sum."""
    return {
        "torch": torch.__version__,
        "device": schedule.device,
        "bfloat16": schedule.bfloat16,
        "threads": torch.get_num_threads(),
    }
