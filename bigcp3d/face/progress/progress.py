"""Shows the progress of a run: the dashboard's address, bars for the run and each pass, warnings, and a last line.

Terminals and notebooks get bars. Elsewhere, as in the log of a batch system or a notebook without ipywidgets, there is
a plain line every few seconds. All of it goes to stderr, so that stdout holds only results.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from bigcp3d.face.progress.pace import format_count, format_time
from bigcp3d.face.progress.run_pace import RunPace
from bigcp3d.face.progress.way_and_time import describe_time, describe_way
from bigcp3d.pure.plural import count
from bigcp3d.schedule.running.events import (
    BlockDone,
    BlockFailed,
    BlockGoesOn,
    ClusterReady,
    Estimated,
    EstimateStarted,
    Event,
    Noted,
    Observer,
    PassStarted,
    RunFinished,
    RunPlanned,
    Summary,
    TimeExpected,
    Warned,
)
from bigcp3d.work.plan.plan import Plan

if TYPE_CHECKING:
    from bigcp3d.work.plan.sections import Guess

LINE_EVERY_S = 5.0

RUN = "all"
"""Name of the bar of the whole run."""


@dataclass
class Watcher:
    """An observer that shows the pace of each pass: with bars where they are given, else in plain lines."""

    console: Console
    bars: Progress | None = None
    clock: Callable[[], float] = time.monotonic
    run: RunPace = field(default_factory=RunPace)
    _tasks: dict[str, TaskID] = field(default_factory=dict)
    _said: dict[str, float] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """Show one event."""
        self.run.see(event, self.clock())
        match event:
            case EstimateStarted(what):
                self._print(f"estimating {what} on a few crops ...")
            case Estimated(guess):
                for line in describe_guess(guess):
                    self._print(line)
            case RunPlanned(plan):
                if plan.reuses_maps:
                    self._print(f"using the maps kept in {plan.given.maps}; give --from image to predict again")
                self._begin(plan)
            case ClusterReady(dashboard, workers):
                self._print(describe_cluster(dashboard, workers))
            case TimeExpected(seconds, _, patch_seconds, patches):
                how = f"a patch takes {patch_seconds:.2g} s, and there are {patches:,}"
                self._print(f"the run will take about {format_time(seconds)}: {how}")
            case PassStarted(name):
                self._start(name)
            case BlockDone(name):
                self._start(name)
                self._show_pass(name)
            case BlockGoesOn(name) if name in self.run.paces:
                self._said.setdefault(name, self.clock())  # no line as the block begins
                self._show_pass(name)
            case BlockFailed(name, when, index, error):
                self._print(f"FAILED: {name} of block {index}, time {when}: {error}")
            case Warned(message):
                self._print(f"warning: {message}")
            case RunFinished():
                self._show_run()
            case Noted(message):
                self._print(message)

    def _print(self, line: str | Text) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _begin(self, plan: Plan) -> None:
        """Say how the run goes, and show its bar above those of its passes, in place of the bars of earlier runs."""
        self._print(f"runs {describe_way(plan)}; time: {describe_time(plan, self.run.expected)}")
        self._said.clear()
        if self.bars is not None:
            for bar in self._tasks.values():
                self.bars.remove_task(bar)
            self._tasks.clear()
            self._tasks[RUN] = self.bars.add_task(RUN, total=1.0, blocks="", pace="")
            self._show_run()

    def _show_run(self) -> None:
        if self.run.planned and self.bars is not None:
            share, _, left = self.run.describe().partition(", ")
            self.bars.update(self._tasks[RUN], completed=self.run.advance(), blocks=share, pace=left)

    def _start(self, name: str) -> None:
        if self.bars is not None and name not in self._tasks:
            blocks = count(self.run.paces[name].total, "block")
            self._tasks[name] = self.bars.add_task(name, total=1.0, blocks=f"0/{blocks}", pace="")

    def _show_pass(self, name: str) -> None:
        now, pace = self.clock(), self.run.paces[name]
        blocks = f"{pace.done}/{count(pace.total, 'block')}"
        if self.bars is not None:
            self.bars.update(self._tasks[name], completed=pace.fraction, blocks=blocks, pace=pace.describe())
            self._show_run()
        elif pace.done == pace.total or now - self._said.get(name, float("-inf")) >= LINE_EVERY_S:
            self._said[name] = now
            whole = f"; all passes {self.run.describe()}" if self.run.planned else ""
            self._print(", ".join(filter(None, [f"{name} {blocks}", pace.describe()])) + whole)


def describe_guess(guess: Guess) -> Iterator[str]:
    """What was estimated, and a warning for each doubt."""
    yield str(guess)
    for doubt in guess.doubts:
        yield f"warning: the diameter is doubtful: {doubt}; compare with a few cells in a viewer, or give --diameter"


def describe_cluster(dashboard: str, workers: int) -> Text:
    """The cluster in a line. Terminals that know links make the address one."""
    line = Text(f"Dask cluster with {count(workers, 'worker')}")
    if dashboard:
        line.append("; dashboard: ").append(dashboard, style=f"link {dashboard}")
    return line


@contextmanager
def watching(quiet: bool = False, console: Console | None = None) -> Iterator[Observer | None]:
    """Observe a run on stderr: bars on a terminal, lines elsewhere, nothing where ``quiet``.

    Parameters
    ----------
    quiet : bool, default False
        Show nothing.
    console : rich.console.Console, optional
        Where to write. Default: stderr.

    Yields
    ------
    observer : callable or None
        Give it to `bigcp3d.segment` as ``on_event``.
    """
    console = console or Console(stderr=True)
    widgets = console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None
    if quiet:
        yield None
    elif not widgets and (console.is_jupyter or not console.is_terminal):
        yield Watcher(console)
    else:
        columns = (
            TextColumn("{task.description:<9}"),
            BarColumn(),
            TextColumn("{task.fields[blocks]}"),
            TextColumn("{task.fields[pace]}"),
        )
        with Progress(*columns, console=console) as bars:
            yield Watcher(console, bars)
            bars.refresh()  # in a notebook rich does not draw the last state by itself


def describe_summary(summary: Summary) -> str:
    """A run in one line: its cells, their labels, what the filters removed, size and speed."""
    words = [f"{count(summary.cells, 'cell')} in {summary.labels}"]
    words += [f"{number:,} removed ({name})" for name, number in summary.removed.items() if number]
    if summary.oddities:
        words.append(f"the cells look ODD in {count(len(summary.oddities), 'way')}: see the warnings, or the report")
    if summary.unassigned_vox:
        words.append(f"{summary.unassigned_vox / max(1, summary.foreground_vox):.2%} of the foreground without a cell")
    if summary.nonfinite_vox:
        words.append(f"{count(summary.nonfinite_vox, 'NaN or infinite voxel')} taken as the lowest intensity")
    speed = format_count(summary.voxels / max(summary.seconds, 1e-9), "voxel/s")
    size = f"{format_count(summary.voxels, 'voxel')} in {count(summary.blocks, 'block')}"
    words.append(f"{size} took {format_time(summary.seconds)} ({speed})")
    if summary.missing_chunks:
        words.append(f"{count(summary.missing_chunks, 'chunk')} not in the store")
    if summary.lost_chunks:
        words.append(f"{count(summary.lost_chunks, 'chunk')} could NOT BE READ, now background")
    return "; ".join(words)
