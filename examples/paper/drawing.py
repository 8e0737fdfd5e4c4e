"""The report's two figures: boxes of Dice per cell, and slices of image, truth and results side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from experiment import TITLES
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.face.pictures.planes_picture import Plane, colour_image, colour_labels, read_planes
from bigcp3d.pure.score.overlaps import count_overlaps

if TYPE_CHECKING:
    from report import Row

COLOURS = {
    "exp1": "#9aa0a6", "exp1_ours": "#c9cdd1", "exp2": "#d98c3f", "exp2_ours": "#ecc79b", "exp3": "#3f7fbf",
    "exp4": "#3fa372",
}  # fmt: skip
UNMATCHED = 1_000_003
"""Added to the ids of found cells that are no true cell's, so that they take colours of their own."""


def draw_boxes(summaries: Sequence[Mapping[str, Any]], target: Path, title: str) -> None:
    """One panel a fold, one box an experiment: quartiles and median, whiskers at 5 and 95 per cent, mean as a diamond.

    Drawn from the summary's numbers, so that picture and table cannot differ.
    """
    folds = list(dict.fromkeys(numbers["fold"] for numbers in summaries))
    shown = _shown(summaries)
    figure = Figure(figsize=(1.0 + (0.9 * len(shown) + 0.6) * len(folds), 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(folds), squeeze=False, sharey=True)[0]
    for panel, fold in zip(panels, folds, strict=True):
        found = {numbers["experiment"]: numbers for numbers in summaries if numbers["fold"] == fold}
        for at, name in enumerate(shown):
            numbers = found.get(name)
            if numbers is None or numbers["missing"]:
                panel.text(at, 0.5, "missing", rotation=90, ha="center", va="center", color="0.5")
                continue
            drawn = panel.bxp(
                [_box(numbers)], positions=[at], widths=0.6, showfliers=False, showmeans=True, patch_artist=True,
                medianprops={"color": "black", "linewidth": 1.5},
                meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 5},
            )  # fmt: skip
            drawn["boxes"][0].set_facecolor(COLOURS[name])
            panel.text(at, 1.02, f"{numbers['mean_dice']:.3f}", ha="center", va="bottom", fontsize=8)
        cells = max((numbers["true_cells"] for numbers in found.values() if not numbers["missing"]), default=0)
        panel.set_title(f"held out: {fold} ({cells} cells)", fontsize=10)
        panel.set_xticks(range(len(shown)), [_short(name) for name in shown], fontsize=8)
        panel.set_xlim(-0.6, len(shown) - 0.4)
        panel.set_ylim(-0.03, 1.09)
        panel.grid(axis="y", color="0.9")
        panel.set_axisbelow(True)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    panels[0].set_ylabel("Dice of each true cell")
    figure.suptitle(f"{title} (numbers: mean)", fontsize=11)
    figure.savefig(target, dpi=130)


def _shown(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The four experiments, and their other reconstructions where there is a number of one."""
    there = {numbers["experiment"] for numbers in summaries if not numbers["missing"]}
    return [name for name in TITLES if name in there or not name.endswith("_ours")]


def _short(name: str) -> str:
    return f"Exp{name[3]}\nours" if name.endswith("_ours") else f"Exp{name[3]}"


def _box(numbers: Mapping[str, Any]) -> dict[str, float]:
    """A box in matplotlib's words."""
    words = {"mean": "mean", "med": "median", "q1": "q1", "q3": "q3", "whislo": "p5", "whishi": "p95"}
    return {word: numbers[f"{name}_dice"] for word, name in words.items()}


def draw_slices(rows: Sequence[Row], folder: Path, target: Path) -> None:
    """The middle planes across z and y of each fold's first test volume: image, truth, results.

    A found cell has the colour of the true cell that it is, where they overlap by more than half in the plane.
    """
    lines = [line for fold in dict.fromkeys(row.fold for row in rows) for line in _lines(rows, folder, fold)]
    if not lines:
        return
    names = [row.name for row in lines[0][2]]
    heights = [plane.image.shape[0] * plane.aspect / plane.image.shape[1] for _, plane, _, _ in lines]
    width = 2.6
    figure = Figure(figsize=(width * (2 + len(names)), width * sum(heights) + 0.12 * len(lines) + 0.5),
                    layout="constrained")  # fmt: skip
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(lines), 2 + len(names), squeeze=False, height_ratios=heights)
    for line, (axes, (volume, plane, results, labels)) in enumerate(zip(grid, lines, strict=True)):
        assert plane.truth is not None
        pictures = [colour_image(plane.image), colour_labels(plane.truth)]
        titles = [
            "image",
            "truth",
            *(TITLES[row.name].replace(": ", "\n").replace(", our", "\nour") for row in results),
        ]
        for at, axis in enumerate(axes):
            axis.set_xticks([])
            axis.set_yticks([])
            if line == 0:
                axis.set_title(titles[at], fontsize=9)
            shown = pictures[at] if at < 2 else None if (found := labels[at - 2]) is None else _colour(found, plane)
            if shown is None:
                shown = np.full((*plane.image.shape, 3), 235, np.uint8)
                axis.text(0.5, 0.5, "missing", ha="center", va="center", color="0.4", transform=axis.transAxes)
            axis.imshow(shown, aspect=plane.aspect, interpolation="nearest")
        axes[0].set_ylabel(f"{volume}, {plane.title}", fontsize=9)
    figure.savefig(target, dpi=110)


Line = tuple[str, Plane, list["Row"], list[NDArray[np.integer] | None]]
"""Volume, plane of image and truth, rows shown, and what each found in the plane."""


def _lines(rows: Sequence[Row], folder: Path, fold: str) -> list[Line]:
    """The lines of a fold's first test volume; none where no experiment was run on it."""
    there = {row.name for row in rows if not row.missing}
    own = [row for row in rows if row.fold == fold and (row.name in there or not row.name.endswith("_ours"))]
    result = next((row.result for row in own if row.result), None)
    if result is None:
        return []
    name, volume = next(iter(result["volumes"].items()))
    image, truth = open_image(volume["path"]), open_labels(volume["path"], "truth")
    found = [
        None if row.missing else read_planes(image, open_labels(folder / fold / row.name / f"{name}.zarr", "cells"))
        for row in own
    ]
    planes = read_planes(image, truth, truth)[:2]
    return [(name, plane, own, [None if f is None else f[at].labels for f in found]) for at, plane in enumerate(planes)]


def _colour(found: NDArray[np.integer], plane: Plane) -> NDArray[np.uint8]:
    """Found cells in the colours of the true cells that they are."""
    assert plane.truth is not None
    table = count_overlaps(found, plane.truth)
    ids, size = np.unique(found, return_counts=True)
    true_ids, true_size = np.unique(plane.truth, return_counts=True)
    own = size[np.searchsorted(ids, table.pred)]
    other = true_size[np.searchsorted(true_ids, table.truth)]
    same = (table.pred > 0) & (table.truth > 0) & (2 * table.count > own + other - table.count)
    names = np.where(ids > 0, ids.astype(np.int64) + UNMATCHED, 0)
    names[np.searchsorted(ids, table.pred[same])] = table.truth[same].astype(np.int64)
    return colour_labels(names[np.searchsorted(ids, found)])
