"""Draws a learning curve: losses above, scores of held-out data below, over the steps."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from bigcp3d.edge.stores.atomic_files import write_atomically
from bigcp3d.work.train.learning_curve import find_best

if TYPE_CHECKING:
    from matplotlib.axes import Axes

log = logging.getLogger(__name__)

LOSSES = {
    "foreground": "foreground, training",
    "flow": "flow, training",
    "val_foreground": "foreground, held out",
    "val_flow": "flow, held out",
}
SCORES = {
    "val_dice": "Dice of the foreground",
    "val_dice_cells": "mean Dice of the cells",
    "val_ap50": "AP at IoU 0.5",
}
"""Columns of the CSV, and their names in the picture."""


def read_curve(table: Path) -> list[dict[str, float]]:
    """The rows of a learning curve as `bigcp3d.train` writes it."""
    with table.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def picture_of(table: Path) -> Path:
    """Where the picture of a learning curve lies: beside it."""
    return table.with_suffix(".png")


def draw_curve(table: Path, target: Path) -> None:
    """Draw a learning curve, a CSV with at least one row, as PNG."""
    from matplotlib.figure import Figure

    rows = read_curve(table)
    scored = any(name in row for row in rows for name in SCORES)
    figure = Figure(figsize=(7, 6 if scored else 3.2), layout="constrained")
    axes = figure.subplots(2 if scored else 1, 1, squeeze=False, sharex=True)[:, 0]
    _plot(axes[0], rows, LOSSES, "loss")
    axes[0].set_ylim(bottom=0)
    if scored:
        _plot(axes[1], rows, SCORES, "score")
        axes[1].set_ylim(0, 1)
    if (best := find_best(rows)) is not None:
        axes[1].axvline(rows[best]["step"], color="0.6", linestyle=":", zorder=0)
        axes[1].set_title(f"best at step {rows[best]['step']:.0f}", fontsize=9, loc="right")
    axes[-1].set_xlabel("step")
    write_atomically(target, lambda file: figure.savefig(file, dpi=110, format="png"))


def _plot(axes: Axes, rows: list[dict[str, float]], names: dict[str, str], title: str) -> None:
    for name, label in names.items():
        known = [row for row in rows if name in row]  # step 0 has no training losses
        if known:
            axes.plot([row["step"] for row in known], [row[name] for row in known], marker=".", label=label)
    axes.set_ylabel(title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def try_to_draw(table: Path) -> None:
    """Draw a learning curve beside it; a picture that fails does not end a training."""
    try:
        draw_curve(table, picture_of(table))
    except OSError as error:
        log.warning("%s could not be drawn: %s", table, error)
