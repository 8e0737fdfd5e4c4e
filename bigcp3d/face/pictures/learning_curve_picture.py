"""A picture of a learning curve: losses above, scores of held-out data below, over the steps."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)

NAMES = {
    "foreground": "foreground, training",
    "flow": "flow, training",
    "val_foreground": "foreground, held out",
    "val_flow": "flow, held out",
    "val_dice": "Dice of the foreground",
    "val_dice_cells": "mean Dice of the cells",
    "val_ap50": "AP at IoU 0.5",
}
"""Columns of the CSV and their names in the picture; the first four are losses, the others scores."""


def read_curve(table: Path) -> dict[str, list[float]]:
    """Columns of a learning curve as `bigcp3d.train` writes it."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}


def picture_of(table: Path) -> Path:
    """Where the picture of a learning curve lies: beside it."""
    return table.with_suffix(".png")


def draw_curve(table: Path, target: Path) -> None:
    """Draw a learning curve, a CSV with at least one row, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = read_curve(table)
    names = [name for name in NAMES if name in columns]
    losses = [name for name in names if name in list(NAMES)[:4]]
    scores = [name for name in names if name not in losses]
    figure = Figure(figsize=(7, 6 if scores else 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2 if scores else 1, 1, squeeze=False, sharex=True)[:, 0]
    _plot(axes[0], columns, losses, "loss")
    axes[0].set_ylim(bottom=0)
    if scores:
        _plot(axes[1], columns, scores, "score")
        axes[1].set_ylim(0, 1)
    if "val_ap50" in columns:
        mean = [(a + b) / 2 for a, b in zip(columns["val_dice_cells"], columns["val_ap50"], strict=True)]
        best = mean.index(max(mean))
        axes[1].axvline(columns["step"][best], color="0.6", linestyle=":", zorder=0)
        axes[1].set_title(f"best at step {columns['step'][best]:.0f}", fontsize=9, loc="right")
    axes[-1].set_xlabel("step")
    figure.savefig(target, dpi=110)


def _plot(axis, columns: dict[str, list[float]], names: Sequence[str], title: str) -> None:  # type: ignore[no-untyped-def]
    for name in names:
        axis.plot(columns["step"], columns[name], marker=".", label=NAMES[name])
    axis.set_ylabel(title)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)


def try_to_draw(table: Path) -> None:
    """Draw a learning curve beside it; a picture that fails does not end a training."""
    try:
        draw_curve(table, picture_of(table))
    except OSError as error:
        log.warning("%s could not be drawn: %s", table, error)
