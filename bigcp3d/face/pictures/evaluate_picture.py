r"""Draws the picture of an evaluation: Dice of the cells, AP against IoU, Dice against volume.

::

    Dice per true cell     AP against IoU      Dice against volume
    |-[ | ]--|  whole      \__                  cells, density in colour
    |--[ | ]-|  seams         \__               line: median of each doubling

Everything is drawn from a few numbers or binned first, so a million cells cost no more than a thousand.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from bigcp3d.pure.score.metrics import Scores
    from bigcp3d.work.analyse.evaluate import Evaluation

COLOURS = ("#3b6fb6", "#d1702b", "#4c9f70", "#8a5fb0")

MOST_CELLS = 10
"""The scale of colours goes up to so many cells or more."""

WIDE = 2.5
"""An axis of more powers of ten has numbers only at powers of ten."""

MOST_NUMBERS = 6
"""Numbers at an axis, at most."""


def draw_evaluation(evaluation: Evaluation, target: Path, title: str = "") -> None:
    """Write the picture; its format follows from the suffix."""
    from matplotlib.figure import Figure

    from bigcp3d.edge.stores.atomic_files import write_atomically

    figure = Figure(figsize=(13.0, 4.2), layout="constrained")
    boxes, curve, volume = figure.subplots(1, 3)
    groups = evaluation.groups
    _draw_boxes(boxes, groups)
    _draw_precision(curve, groups)
    _draw_volumes(volume, evaluation)
    figure.suptitle(title, fontsize=10)
    write_atomically(target, lambda file: figure.savefig(file, dpi=130, format=target.suffix[1:].lower()))


def box_stats(name: str, scores: Scores) -> dict[str, Any]:
    """One box for `Axes.bxp`: quartiles, median, mean, and whiskers at the 5th and 95th percentile."""
    numbers = scores.numbers
    keys = {"q1": "dice_q1", "med": "median_dice", "q3": "dice_q3", "whislo": "dice_p5", "whishi": "dice_p95"}
    box: dict[str, Any] = {key: numbers[source] for key, source in keys.items()}
    return {**box, "mean": numbers["mean_dice"], "label": f"{name}\nn = {numbers['true_cells']:,}", "fliers": []}


def _draw_boxes(axes: Axes, groups: dict[str, Scores]) -> None:
    stats = [box_stats(name, scores) for name, scores in groups.items() if len(scores.dice)]
    if stats:
        boxes = axes.bxp(
            stats, showmeans=True, showfliers=False, patch_artist=True, widths=0.5,
            medianprops={"color": "black", "linewidth": 1.5},
            meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 6},
        )  # fmt: skip
        for patch, colour in zip(boxes["boxes"], COLOURS, strict=False):
            patch.set_facecolor(colour)
            patch.set_alpha(0.6)
    else:
        _say_no_cells(axes)
    axes.set(ylim=(-0.02, 1.02), ylabel="Dice")
    axes.set_title("Dice per true cell (whiskers 5 %, 95 %; mean \N{WHITE DIAMOND})", fontsize=10)
    axes.grid(axis="y", alpha=0.3)


def _draw_precision(axes: Axes, groups: dict[str, Scores]) -> None:
    for (name, scores), colour in zip(groups.items(), COLOURS, strict=False):
        iou = [row["iou"] for row in scores.by_iou]
        ap = [np.nan if row["ap"] is None else row["ap"] for row in scores.by_iou]
        axes.plot(np.array(iou, float), np.array(ap, float), "o-", color=colour, label=name, markersize=4)
    axes.set(xlim=(0.05, 0.95), ylim=(-0.02, 1.02), xlabel="IoU at least", ylabel="AP = TP / (TP + FP + FN)")
    axes.set_title("Average precision", fontsize=10)
    axes.grid(alpha=0.3)
    if len(groups) > 1:
        axes.legend(loc="lower left", fontsize=9)


def _draw_volumes(axes: Axes, evaluation: Evaluation) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, LogNorm

    volume, dice = evaluation.cells.cell_vox, evaluation.dice
    axes.set(xlabel="volume of the true cell (voxels)", ylabel="Dice")
    axes.set_title("Dice against volume", fontsize=10)
    if not len(volume):
        _say_no_cells(axes)
        return
    axes.set_xscale("log")
    low, high = np.log10([volume.min() / 1.3, volume.max() * 1.3])
    shown = axes.hexbin(
        volume, dice, gridsize=(40, 25), xscale="log", mincnt=1, extent=(low, high, 0, 1), linewidths=0.2,
        cmap=ListedColormap(colormaps["Blues"](np.linspace(0.3, 1, 256))),
    )  # fmt: skip
    counts = shown.get_array()
    most = MOST_CELLS if counts is None else max(MOST_CELLS, int(counts.max()))
    shown.set_norm(LogNorm(1, most))
    bar = axes.figure.colorbar(shown, ax=axes, label="cells", pad=0.02)
    write_numbers(axes.xaxis, 10**low, 10**high)
    write_numbers(bar.ax.yaxis, 1, most)
    volumes, medians = median_by_volume(volume, dice)
    axes.plot(volumes, medians, "o-", color=COLOURS[1], markersize=3.5, label="median of each doubling")
    axes.set_ylim(-0.02, 1.02)
    axes.legend(loc="lower right", fontsize=9)


def write_numbers(axis: Axis, low: float, high: float) -> None:
    """Write whole numbers at a logarithmic axis: few enough that they do not touch."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    decades = np.log10(high / low)
    axis.set_major_locator(LogLocator(subs=(1.0,) if decades > WIDE else (1.0, 2.0, 5.0), numticks=MOST_NUMBERS))
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value / 1e6:,.0f}M" if value >= 1e6 else f"{value:,.0f}")
    )
    axis.set_minor_formatter(NullFormatter())


def median_by_volume(volume: np.ndarray[Any, Any], dice: np.ndarray[Any, Any]) -> tuple[list[float], list[float]]:
    """Medians of volume and Dice in bins that double in volume, of each bin that holds cells."""
    octave = np.floor(np.log2(volume)).astype(int)
    inside = [octave == k for k in np.unique(octave)]
    return [float(np.median(volume[mask])) for mask in inside], [float(np.median(dice[mask])) for mask in inside]


def _say_no_cells(axes: Axes) -> None:
    axes.text(0.5, 0.5, "no true cells", ha="center", va="center", transform=axes.transAxes)
