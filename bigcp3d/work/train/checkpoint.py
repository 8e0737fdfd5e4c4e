"""Checkpoints: the whole state of a training after a step, in one file that is replaced at once.

So a resumed training never mixes two steps and writes no row of the learning curve twice. A checkpoint of other
settings is refused, and the message lists those that differ. Reading a checkpoint runs no code.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bigcp3d.edge.stores.atomic_files import write_atomically
from bigcp3d.edge.stores.zarr_write import plain_json
from bigcp3d.errors import InputError, TargetError
from bigcp3d.work.plan.name_differences import name_differences

FORMAT = 9
"""Rises with each change of the file, of the settings in it, or of the samples that a seed gives."""

Row = dict[str, float]
"""One validation: column to number, with "step" first."""


@dataclass(frozen=True)
class Checkpoint:
    """A training after ``step`` steps.

    ``options`` are what the user asked for (`bigcp3d.work.train.remembered_options`). ``settings`` decide the result,
    together with the number of steps, and ``machine`` its last bits (all JSON). ``rows`` are the learning curve,
    ``state`` is the ``state_dict()`` of each part, and ``best`` are the averaged weights at the best validation.
    """

    step: int
    options: dict[str, Any]
    settings: dict[str, Any]
    machine: dict[str, Any]
    rows: list[Row]
    state: dict[str, Any]
    best: dict[str, Tensor] | None


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint in the place of an older one, which stays if this fails (`TargetError`)."""
    content = {
        "format": FORMAT,
        "step": checkpoint.step,
        "text": json.dumps([checkpoint.options, checkpoint.settings, checkpoint.machine, checkpoint.rows]),
        "state": checkpoint.state,
        "best": checkpoint.best,
    }
    try:
        write_atomically(path, lambda file: torch.save(content, file))
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        raise TargetError(
            f"{path}: the checkpoint cannot be written ({error}); the one before it is kept. Make space on the disk, "
            "or make the folder writable, and resume"
        ) from error


def checkpoint_of(output: str | Path) -> Path:
    """Where the checkpoint of a model lies: beside it."""
    return Path(output).with_suffix(".checkpoint.pt")


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; one that is damaged, or of another version, is refused (`InputError`)."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}")
        options, settings, machine, rows = json.loads(content["text"])
        return Checkpoint(content["step"], options, settings, machine, rows, content["state"], content["best"])
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{path}: this checkpoint cannot be used: it is damaged, or from another version of bigcp3d "
            f"({' '.join(str(error).split())[:200]}); train again with overwrite in place of resume"
        ) from error


def check_alike(path: Path, checkpoint: Checkpoint, settings: dict[str, Any], steps: int) -> None:
    """Refuse to go on with other settings than those of the checkpoint, or to fewer steps than it has done."""
    differing = name_differences(checkpoint.settings, plain_json(settings))
    if differing:
        raise InputError(
            f"{path}: the checkpoint is of a training with other settings ({'; '.join(differing)}); resume with the "
            "same settings or with none, or train again with overwrite in place of resume"
        )
    if steps < checkpoint.step:
        raise InputError(
            f"steps is {steps}, but the training in {path} has already done {checkpoint.step}; give more "
            "steps, or leave steps out"
        )
