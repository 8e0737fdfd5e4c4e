"""What one sees while a run goes: the dashboard's address, a bar for each pass, warnings, and a line at the end.

Speed and time left come from blocks measured in this run: blocks that an earlier run had finished move the bar and do
not count for speed. Passes overlap on Dask, so the clock of a pass starts with its first measured block and not when
the pass was announced. On a terminal the passes are bars; elsewhere (a batch system's log) they are plain lines, one
every few seconds. All of it goes to stderr, so that stdout holds results alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from bigcp3d.schedule.events import (
    BlockDone,
    ClusterReady,
    Event,
    Observer,
    PassStarted,
    RunPlanned,
    Summary,
    Warned,
)

LINE_EVERY_S = 5.0
COUNT_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def format_count(value: float, unit: str) -> str:
    """A count in three digits: ``1.24 Mvoxel``."""
    for size, letter in COUNT_UNITS:
        if value >= size * 0.9995:
            return f"{value / size:.3g} {letter}{unit}"
    return f"{value:.3g} {unit}"


def format_time(seconds: float) -> str:
    """A duration: ``0:42``, ``3:05:00``, ``2 d 3:05:00``."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    clock = f"{hours}:{minutes:02d}:{rest:02d}" if hours or days else f"{minutes}:{rest:02d}"
    return f"{days} d {clock}" if days else clock


@dataclass
class Pace:
    """Speed of one pass, from the blocks that were measured in this run.

    Attributes
    ----------
    total, done : int
        Blocks of the pass; finished ones, those of earlier runs included.
    voxels, measured : int
        Voxels and blocks measured in this run.
    began, latest : float
        When the first measured block was started and the last one ended, in seconds of the caller's clock.
    """

    total: int
    done: int = 0
    voxels: int = 0
    measured: int = 0
    began: float = float("inf")
    latest: float = 0.0

    def count(self, event: BlockDone, now: float) -> None:
        """Take one finished block into account."""
        self.done, self.total = max(self.done, event.done), event.total
        if event.seconds > 0:
            self.voxels += event.voxels
            self.measured += 1
            self.began = min(self.began, now - event.seconds)
            self.latest = now

    @property
    def voxels_per_second(self) -> float | None:
        """Voxels per second of wall time over all workers; None before the first measured block."""
        elapsed = self.latest - self.began
        return self.voxels / elapsed if self.measured and elapsed > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Wall time that the remaining blocks take at this run's mean pace; None before the first measured block."""
        if self.done >= self.total:
            return 0.0
        return (self.latest - self.began) / self.measured * (self.total - self.done) if self.measured else None

    def describe(self) -> str:
        """Speed and time left as text: ``1.24 Mvoxel/s, 0:42 left``; empty where nothing was measured."""
        speed, left = self.voxels_per_second, self.seconds_left
        words = [format_count(speed, "voxel/s")] if speed else []
        if left is not None and self.done < self.total:
            words.append(f"{format_time(left)} left")
        return ", ".join(words)


@dataclass
class Watcher:
    """An observer of a run: keeps the pace of each pass and shows it.

    Attributes
    ----------
    console : rich.console.Console
        Where to write.
    bars : rich.progress.Progress, optional
        The bars, on a terminal; None writes plain lines.
    clock : callable
        Seconds that only grow.
    """

    console: Console
    bars: Progress | None = None
    clock: Callable[[], float] = time.monotonic
    paces: dict[str, Pace] = field(default_factory=dict)
    _tasks: dict[str, TaskID] = field(default_factory=dict)
    _said: dict[str, float] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case RunPlanned(plan):
                if plan.reuses_maps:
                    self._print(f"maps kept in {plan.maps} are used, nothing is predicted (--from image predicts)")
            case ClusterReady(dashboard, workers):
                where = f"; dashboard: {dashboard}" if dashboard else ""
                self._print(f"Dask cluster with {workers} worker{'s' if workers != 1 else ''}{where}")
            case PassStarted(name, tasks):
                self._start(name, tasks)
            case BlockDone():
                self._advance(event)
            case Warned(message):
                self._print(f"warning: {message}")

    def _print(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _start(self, name: str, tasks: int) -> None:
        self.paces.setdefault(name, Pace(tasks))
        if self.bars is not None and name not in self._tasks:
            self._tasks[name] = self.bars.add_task(name, total=tasks, pace="")

    def _advance(self, event: BlockDone) -> None:
        now = self.clock()
        self._start(event.name, event.total)
        pace = self.paces[event.name]
        pace.count(event, now)
        if self.bars is not None:
            self.bars.update(self._tasks[event.name], completed=pace.done, total=pace.total, pace=pace.describe())
        elif pace.done == pace.total or now - self._said.get(event.name, float("-inf")) >= LINE_EVERY_S:
            self._said[event.name] = now
            detail = pace.describe()
            self._print(f"{event.name} {pace.done}/{pace.total} blocks" + (f", {detail}" if detail else ""))


@contextmanager
def watching(quiet: bool = False, console: Console | None = None) -> Iterator[Observer | None]:
    """Observe a run on stderr: bars on a terminal, lines elsewhere, nothing where ``quiet``.

    Yields
    ------
    observer : callable or None
        To be given to `segment` as ``on_event``.
    """
    console = console or Console(stderr=True)
    if quiet:
        yield None
    elif not console.is_terminal:
        yield Watcher(console)
    else:
        columns = (
            TextColumn("{task.description:<9}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} blocks"),
            TextColumn("{task.fields[pace]}"),
        )
        with Progress(*columns, console=console) as bars:
            yield Watcher(console, bars)


def describe_summary(summary: Summary) -> str:
    """The run in one line: cells, where they are, what filters took out, size and speed."""
    words = [f"{summary.cells:,} cells in {summary.labels}"]
    words += [f"{count:,} removed ({name})" for name, count in summary.removed.items() if count]
    if summary.unassigned_vox:
        words.append(f"{summary.unassigned_vox / max(1, summary.foreground_vox):.2%} of the foreground unassigned")
    if summary.nonfinite_vox:
        words.append(f"{summary.nonfinite_vox:,} NaN or infinite voxels taken as the lowest intensity")
    speed = format_count(summary.voxels / max(summary.seconds, 1e-9), "voxel/s")
    size = f"{format_count(summary.voxels, 'voxel')} in {summary.blocks:,} blocks"
    words.append(f"{size} took {format_time(summary.seconds)} ({speed})")
    if summary.failed:
        words.append(f"{len(summary.failed)} blocks FAILED")
    return "; ".join(words)
