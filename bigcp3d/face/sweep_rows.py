"""The trials of a sweep as rows: ranked, numbered, and without what is the same in all of them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.plural import count
from bigcp3d.schedule.sweep_trial import Trial

SCORES = ("mean_dice", "ap50", "precision", "recall", "f1", "true_cells")
AXES = (0, 1)
"""The planes that are drawn: one across z, and one across y."""

Columns = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """A trial without its labels: ``planes`` are the middle planes of these across `AXES`, ``digest`` is their hash.

    ``number`` counts from 1, the best first. ``same_as`` is the number of the first row with the same labels, or None.
    """

    trial: Trial
    planes: tuple[NDArray[Any], ...]
    digest: bytes
    number: int = 0
    same_as: int | None = None


def row_of(trial: Trial) -> Row:
    """The row of a trial that is not ranked yet."""
    labels = trial.labels
    planes = tuple(labels.take(labels.shape[axis] // 2, axis=axis) for axis in AXES)
    digest = hashlib.blake2b(np.ascontiguousarray(labels).data, digest_size=16).digest()
    return Row(replace(trial, labels=labels[:0]), planes, digest)


def rank(rows: Iterable[Row]) -> list[Row]:
    """Rows by their score, with numbers. Without a truth, and among equals, the order stays."""
    ranked, first = list[Row](), dict[bytes, int]()
    for number, row in enumerate(sorted(rows, key=lambda row: -score(row.trial)), 1):
        ranked.append(replace(row, number=number, same_as=first.get(row.digest)))
        first.setdefault(row.digest, number)
    return ranked


def score(trial: Trial) -> float:
    """The mean of Dice and AP, by which trials are ranked; 0 without truth."""
    scores = trial.scores or {}
    return sum(float(scores.get(name) or 0) for name in ("mean_dice", "ap50")) / 2


def tabulate(rows: Sequence[Row]) -> tuple[list[Columns], Columns]:
    """The columns of each row that differ between rows, and those that are the same in all. One row keeps all."""
    full = [_columns(row) for row in rows]
    names = list(dict.fromkeys(itertools.chain.from_iterable(full)))
    values = {name: [columns.get(name) for columns in full] for name in names}
    same = {name: column[0] for name, column in values.items() if len(rows) > 1 and len(set(column)) == 1}
    return [{name: columns.get(name) for name in names if name not in same} for columns in full], same


def _columns(row: Row) -> Columns:
    trial = row.trial
    names = ("volume_q1", "volume_median", "volume_q3")
    quartiles = np.percentile(trial.volumes, (25, 50, 75)).tolist() if trial.cells else [None] * 3
    return {
        "trial": row.number,
        **trial.settings,
        "cells": trial.cells,
        **dict(zip(names, quartiles, strict=True)),
        **{f"removed, {name}": number for name, number in trial.removed.items()},
        "without_a_cell": trial.unassigned_vox / max(1, trial.foreground_vox),
        **{name: trial.scores[name] for name in SCORES if trial.scores},
        "odd": ", ".join(trial.odd),
        "same_labels_as": row.same_as,
    }


def describe_settings(row: Row, varied: Sequence[str]) -> str:
    """The settings that differ between trials, in words."""
    settings = {name: value for name, value in row.trial.settings.items() if name in varied}
    return ", ".join(describe_value(name, value) for name, value in settings.items())


def describe_value(name: str, value: float | str) -> str:
    """``foreground 0.4``; a text in brackets, since it has spaces."""
    return f"{words_of(name)} ({value})" if isinstance(value, str) else f"{words_of(name)} {value:g}"


def words_of(name: str) -> str:
    """The name of a column or setting in words."""
    return name.removesuffix("_vox").removesuffix("_um").replace("_", " ")


def describe_result(trial: Trial) -> str:
    """A trial's cells and scores, in words."""
    found = [count(trial.cells, "cell")]
    if trial.scores:
        numbers = {"Dice": trial.scores["mean_dice"], "AP50": trial.scores["ap50"]}
        found += [f"{name} {value:.3f}" for name, value in numbers.items() if value is not None]
    return ", ".join(found) + (f"; odd: {', '.join(trial.odd)}" if trial.odd else "")
