"""The page, drawn by bokeh, which draws Dask's pages too. Each browser has its own document, renewed once a second."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from bigcp3d.face.dashboard.state import FAILED, MAPPED, RunState, lay_out
from bigcp3d.face.progress.pass_colours import colour_of

if TYPE_CHECKING:
    from bokeh.document import Document

EVERY_MS = 1000
PALETTE = ("#e3e6ea", *(colour_of(name) for name in MAPPED), "#dd0000")
MOST_FAILURES = 8
MOST_LINED = 4096
WIDE, HIGH = 960.0, 300.0
"""Room for the map, in pixels."""


class RunPage:
    """The parts of the page, for one browser."""

    def __init__(self, state: RunState) -> None:
        from bokeh.models import (
            ColumnDataSource,
            DataRange1d,
            FactorRange,
            NumeralTickFormatter,
            Range1d,
            SingleIntervalTicker,
        )
        from bokeh.models.mappers import LinearColorMapper
        from bokeh.models.widgets import Div
        from bokeh.plotting import figure

        self.state = state
        self.head, self.passes, self.failures = Div(), Div(sizing_mode="stretch_width"), Div()
        self.map = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        self.layers = ColumnDataSource({"x": [], "y": [], "text": []})
        self.speeds = ColumnDataSource({"seconds": [], **{name: [] for name in MAPPED}})
        self.gpus = ColumnDataSource({"worker": [], "gib": []})
        self.range = {"x": Range1d(start=0, end=1), "y": Range1d(start=1, end=0)}
        colours = LinearColorMapper(palette=PALETTE, low=-0.5, high=FAILED + 0.5, nan_color="rgba(0,0,0,0)")
        blocks: Any = figure(
            x_range=self.range["x"],
            y_range=self.range["y"],
            title="Blocks, layer by layer along z: the latest pass that has done them",
            tools="pan,wheel_zoom,reset,save",
            toolbar_location="above",
            frame_width=round(WIDE),
            frame_height=round(HIGH),
        )
        blocks.image("image", "x", "y", "dw", "dh", source=self.map, color_mapper=colours)
        blocks.text("x", "y", "text", source=self.layers, text_font_size="11px", text_baseline="bottom")
        blocks.axis.visible, blocks.outline_line_color = False, None
        blocks.grid.ticker, blocks.grid.level = SingleIntervalTicker(interval=1), "overlay"
        blocks.grid.grid_line_color = "white"
        self.blocks = blocks
        speed: Any = figure(
            title="Voxels a second of each pass, all workers together; colours as above",
            x_axis_label="time since the first pass began",
            y_axis_label="Mvoxel/s",
            tools="pan,wheel_zoom,reset,save",
            sizing_mode="stretch_width",
            height=260,
            y_range=DataRange1d(start=0),
        )
        for name in MAPPED:
            speed.line("seconds", name, source=self.speeds, color=colour_of(name), width=2)
        speed.xaxis.formatter = NumeralTickFormatter(format="00:00:00")
        self.workers = FactorRange()
        self.gpu: Any = figure(
            title="GPU memory that torch held in each worker's last task (GiB)",
            y_range=self.workers,
            x_range=DataRange1d(start=0),
            tools="save",
            sizing_mode="stretch_width",
            height=200,
            visible=False,
        )
        self.gpu.hbar("worker", right="gib", source=self.gpus, height=0.7, color=colour_of("predict"))
        self.shown = [self.head, self.passes, blocks, Div(text=_legend()), speed, self.gpu, self.failures]

    def add_to(self, document: Document) -> None:
        """Show it in a browser's document, and keep it true."""
        from bokeh.layouts import column

        document.title = "bigcp3d"
        document.add_root(column(*self.shown, sizing_mode="stretch_width"))
        self.renew()
        document.add_periodic_callback(self.renew, EVERY_MS)

    def renew(self) -> None:
        """Show the run as it is now."""
        state = self.state
        with state.lock:
            self.head.text = _head(state)
            self.passes.text = _passes(state)
            self.failures.text = _failures(state)
            cells = state.cells()
            now = state.clock() - state.began
            seconds, series = state.speeds.series(now)
            gpus = dict(state.gpus)
            shape = state.cell_shape()
        picture, places = lay_out(cells, WIDE / HIGH * shape[0] / shape[1])
        height, width = picture.shape
        self._fit(height, width, shape)
        self.blocks.grid.visible = cells.size <= MOST_LINED
        self.map.data = {"image": [picture], "x": [0], "y": [0], "dw": [width], "dh": [height]}
        rows = [(column, row, f"z {number}") for number, row, column in places] if len(places) > 1 else []
        self.layers.data = {k: [row[i] for row in rows] for i, k in enumerate(("x", "y", "text"))}
        none = np.full(len(seconds), np.nan)
        self.speeds.data = {"seconds": seconds, **{name: series.get(name, none) / 1e6 for name in MAPPED}}
        self.gpu.visible = bool(gpus)
        if gpus:
            self.workers.factors = sorted(gpus)
            self.gpus.data = {"worker": list(gpus), "gib": [value / 2**30 for value in gpus.values()]}

    def _fit(self, height: int, width: int, shape: tuple[float, float]) -> None:
        """Give a map of so many blocks true proportions in the room that it has, with a line of words above it."""
        above = 0.08 * height
        scale = min(WIDE / (width * shape[1]), HIGH / ((height + above) * shape[0]))
        self.range["x"].end = WIDE / (scale * shape[1])
        self.range["y"].start, self.range["y"].end = HIGH / (scale * shape[0]) - above, -above


def _legend() -> str:
    """What the colours of the map mean."""
    square = '<span style="display:inline-block;width:1em;height:1em;margin:0 .4em 0 1.2em;background:{}"></span>{}'
    names = zip(PALETTE, ("waiting", *MAPPED, "failed"), strict=True)
    return '<div style="margin-left:3rem">' + "".join(square.format(*name) for name in names) + "</div>"


def _head(state: RunState) -> str:
    """What runs, and where Dask's own pages are."""
    plan = state.plan
    if plan is None:
        return "<b>bigcp3d</b>: nothing is planned yet"
    when = f", time point {state.time}" if len(plan.where.times) > 1 else ""
    link = f'; <a href="{escape(state.dashboard)}">tasks and workers</a>' if state.dashboard else ""
    shape = " × ".join(map(str, plan.grid.counts))
    return (
        f'<div style="font-size:1.1rem"><b>{escape("/".join(str(plan.output.target.path).split("/")[-3:]))}</b>{when}: '
        f"{len(plan.grid):,} blocks ({shape}), {state.workers} workers{link}</div>"
    )


def _passes(state: RunState) -> str:
    """A bar for each pass, with blocks, speed and time left."""
    rows = []
    for name, pace in state.paces.items():
        bar = (
            '<div style="background:#e3e6ea;width:14rem;height:.8rem;border-radius:2px">'
            f'<div style="background:{colour_of(name)};width:{100 * pace.fraction:.1f}%;height:100%;border-radius:2px">'
            "</div></div>"
        )
        cells = (name, bar, f"{pace.done:,}/{pace.total:,} blocks", pace.describe())
        rows.append(
            "<tr>" + "".join(f'<td style="padding:.1rem .8rem .1rem 0">{cell}</td>' for cell in cells) + "</tr>"
        )
    return f'<table style="font-variant-numeric:tabular-nums">{"".join(rows)}</table>'


def _failures(state: RunState) -> str:
    if not state.failures:
        return ""
    lines = "<br>".join(escape(line) for line in state.failures[-MOST_FAILURES:])
    return f'<b style="color:#dd0000">{len(state.failures)} failed</b><br>{lines}'
