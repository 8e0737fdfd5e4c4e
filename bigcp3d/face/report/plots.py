"""Draws the plots of the page as SVG, which follow its light or dark colours and need no script."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import NDArray

from bigcp3d.face.progress.pace import format_count, format_time
from bigcp3d.pure.plural import count
from bigcp3d.work.run.run_costs import RunEffort

PASS_COLOURS = {
    "normalise": "#999999", "predict": "#4477aa", "merge": "#66aadd", "track": "#228833", "cluster": "#ccbb44",
    "stitch": "#ddaa33", "join": "#bb8833", "check": "#aa7744", "gather": "#cc8877",
    "filter": "#dd7788", "resolve": "#ee6677", "label": "#aa3377", "pyramid": "#ee99cc",
}  # fmt: skip

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 44


def colour_of(name: str) -> str:
    """The colour of a pass, as ``#rrggbb``."""
    return PASS_COLOURS.get(name, "#777777")


@dataclass
class Plot:
    """Axes and marks of one plot. Screen readers read the title aloud."""

    title: str
    x_name: str
    y_name: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x_log: bool = False
    marks: list[str] = field(default_factory=list)

    def x(self, value: float) -> float:
        """The horizontal position of a value, in pixels."""
        low, high = self.x_range
        if self.x_log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return LEFT + (value - low) / max(high - low, 1e-12) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """The vertical position of a value, in pixels."""
        low, high = self.y_range
        return HEIGHT - BOTTOM - (value - low) / max(high - low, 1e-12) * (HEIGHT - TOP - BOTTOM)

    def svg(self) -> str:
        """The plot as an SVG element."""
        floor, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        parts = [
            f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.title)}">',
            f"<title>{escape(self.title)}</title>",
        ]
        for value in y_ticks(*self.y_range):
            at = self.y(value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{short(value)}</text>')
        parts += self.marks
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{floor}" y2="{floor}"/>')
        for value in log_ticks(*self.x_range) if self.x_log else y_ticks(*self.x_range):
            at = self.x(value)
            parts.append(f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{floor}" y2="{floor + 4}"/>')
            parts.append(f'<text x="{at:.1f}" y="{floor + 17}" text-anchor="middle">{short(value)}</text>')
        middle = (LEFT + right) / 2
        parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(self.x_name)}</text>')
        turn = f"translate(14 {(TOP + floor) / 2}) rotate(-90)"
        parts.append(f'<text transform="{turn}" text-anchor="middle">{escape(self.y_name)}</text></svg>')
        return "".join(parts)


def short(value: float) -> str:
    """A tick's number: ``0``, ``2.5``, ``40``, ``1.2k``."""
    return format_count(value, "").replace(" ", "") if abs(value) >= 10_000 else f"{value:,.6g}"


def y_ticks(low: float, high: float) -> list[float]:
    """About five round numbers from ``low`` to ``high``."""
    span = max(high - low, 1e-12)
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(s * power for s in (1, 2, 5, 10) if span / (s * power) <= 5)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten; only the powers where there would be more than ten numbers."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1,)):
        found = [s * 10.0**p for p in powers for s in steps if low <= s * 10.0**p <= high]
        if len(found) <= 10:
            break
    return found or [low]


def plot_volumes(edges: NDArray[np.float64], counts: NDArray[np.int64], median: float, unit: str) -> str:
    """The histogram of volumes, with the median."""
    cells, most = int(counts.sum()), int(counts.max(initial=1))
    title = f"Volumes of {count(cells, 'cell')}, from {edges[0]:.4g} to {edges[-1]:.4g} {unit}; median {median:.4g}"
    plot = Plot(title, f"volume ({unit}, logarithmic)", "cells", (edges[0], edges[-1]), (0, most * 1.05), x_log=True)
    for low, high, number in zip(edges, edges[1:], counts.tolist(), strict=False):
        if number:
            x, y = plot.x(low), plot.y(number)
            size = f'width="{max(plot.x(high) - x - 1, 0.5):.1f}" height="{plot.y(0) - y:.1f}"'
            plot.marks.append(
                f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" {size}>'
                f"<title>{count(number, 'cell')} of {low:.4g} to {high:.4g} {unit}</title></rect>"
            )
    if edges[0] <= median <= edges[-1]:
        x = plot.x(median)
        plot.marks.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{plot.y(0)}"/>')
        side, shift = ("start", 5) if x < WIDTH * 0.7 else ("end", -5)
        plot.marks.append(
            f'<text x="{x + shift:.1f}" y="{TOP + 12}" text-anchor="{side}">median {median:.4g} {unit}</text>'
        )
    return plot.svg()


def plot_workers(effort: RunEffort) -> str:
    """How many workers were busy with each pass, over time; passes are stacked."""
    length = effort.bin_seconds * max((len(p.busy) for p in effort.passes), default=1)
    heights = np.array([p.busy for p in effort.passes]).reshape(len(effort.passes), -1)
    most = float(heights.sum(axis=0).max(initial=1))
    minutes = length >= 300
    unit, scale = ("minutes", 60.0) if minutes else ("seconds", 1.0)
    title = f"Workers busy with each pass over the {format_time(length)} of the run"
    name = f"time since the first task began ({unit})"
    plot = Plot(title, name, "workers busy", (0, length / scale), (0, most * 1.05))
    below = np.zeros(heights.shape[1])
    for row, one in zip(heights, effort.passes, strict=True):
        above = below + row
        edges = [plot.x(k * effort.bin_seconds / scale) for k in range(len(row) + 1)]
        up = [f"{x:.1f},{plot.y(value):.1f}" for k, value in enumerate(above) for x in edges[k : k + 2]]
        down = [f"{x:.1f},{plot.y(value):.1f}" for k, value in enumerate(below) for x in edges[k : k + 2]]
        points = " ".join([*up, *reversed(down)])
        plot.marks.append(
            f'<polygon fill="{colour_of(one.name)}" points="{points}"><title>{escape(one.name)}</title></polygon>'
        )
        below = above
    return plot.svg()
