"""What the page shows of a run, collected from its events: which block is where, speeds over time, memory of GPUs.

Events come in the thread that runs the passes, and the page is drawn in another; a lock keeps them apart. What is kept
does not grow with the number of blocks but for a byte a block and pass.

Blocks of different passes differ in size, so the map has the blocks of the working grid as its cells, and a pass has
done a cell where it has done the block in which the cell's centre lies.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bigcp3d.face.progress.pace import Pace
from bigcp3d.pure.boxes import BlockGrid, vec3
from bigcp3d.schedule.running.events import BlockDone, BlockFailed, ClusterReady, Event, PassStarted, RunPlanned
from bigcp3d.work.plan.plan import Plan

MAPPED = ("predict", "merge", "track", "cluster", "check", "vote", "label")
"""Passes on the map, in the order in which a block goes through them."""

LABELLED = ("vote", "label")
"""Passes on blocks of the label image."""

WAITING, FAILED = 0, len(MAPPED) + 1
"""What a cell of the map says beside 1 + the number of the latest pass that has done it."""

BINS = 120
MOST_CELLS = 2**20
MOST_LAYERS = 64


@dataclass
class Speeds:
    """Voxels that each pass has done in pieces of time, all of one length, which doubles when they do not suffice."""

    width: float = 1.0
    voxels: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def add(self, name: str, start: float, stop: float, voxels: int) -> None:
        """Spread a block's voxels over the time that it took, in seconds since the run began."""
        while stop >= self.width * BINS:
            self.width *= 2
            self.voxels = {
                k: np.append(v.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2)) for k, v in self.voxels.items()
            }
        row = self.voxels.setdefault(name, np.zeros(BINS))
        start = max(start, 0.0)
        for k in range(int(start / self.width), int(stop / self.width) + 1):
            share = min(stop, (k + 1) * self.width) - max(start, k * self.width)
            row[k] += voxels * share / max(stop - start, 1e-9)

    def series(self, now: float) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Middle of each piece that is over, and voxels a second of each pass in it."""
        n = min(int(now / self.width), BINS)
        middles = (np.arange(n, dtype=np.float64) + 0.5) * self.width
        return middles, {name: row[:n] / self.width for name, row in self.voxels.items()}


class RunState:
    """An observer of a run that keeps what the page shows."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.began = clock, clock()
        self.lock = threading.Lock()
        self.plan: Plan | None = None
        self.dashboard, self.workers = "", 1
        self.paces: dict[str, Pace] = {}
        self.speeds = Speeds()
        self.gpus: dict[str, int] = {}
        self.time = 0
        self.failures: list[str] = []
        self._done: dict[tuple[str, int], NDArray[np.bool_]] = {}
        self._failed: dict[tuple[str, int], NDArray[np.bool_]] = {}

    def __call__(self, event: Event) -> None:
        """Take an event into account."""
        with self.lock:
            match event:
                case RunPlanned(plan):
                    self.plan = plan
                case ClusterReady(dashboard, workers):
                    self.dashboard, self.workers = dashboard, workers
                case PassStarted(name, tasks, voxels):
                    self.began = self.began if self.paces else self.clock()
                    self.paces[name] = Pace(tasks, voxels, self.workers)
                case BlockDone():
                    self._count(event)
                case BlockFailed(name, when, index, error):
                    self.failures.append(f"{name} of block {index}, time {when}: {error}")
                    self._mark(self._failed, name, when, index)
                case _:
                    pass

    def _count(self, event: BlockDone) -> None:
        now = self.clock()
        pace = self.paces.setdefault(event.name, Pace(event.total, workers=self.workers))
        pace.count(event, now)
        self.time = event.time
        self._mark(self._done, event.name, event.time, event.index)
        if event.seconds > 0 and event.voxels:
            stop = now - self.began
            self.speeds.add(event.name, stop - event.seconds, stop, event.voxels)
        if event.gpu_peak_bytes:
            self.gpus[event.worker] = event.gpu_peak_bytes

    def _mark(
        self, where: dict[tuple[str, int], NDArray[np.bool_]], name: str, when: int, index: tuple[int, ...]
    ) -> None:
        if name not in MAPPED or self.plan is None:
            return
        grid = self._grid(name)
        flags = where.setdefault((name, when), np.zeros(grid.counts, bool))
        flags[vec3(index)] = True

    def _grid(self, name: str) -> BlockGrid:
        """Blocks of a pass."""
        if self.plan is None:
            raise ValueError("no run was planned")
        if name in LABELLED:
            return self.plan.label_grid(0)
        return self.plan.patch_blocks.grid if name in ("predict", "merge") else self.plan.grid

    def cells(self) -> NDArray[np.uint8]:
        """For each block of the working grid: `WAITING`, `FAILED`, or 1 + the latest pass that has done it."""
        if self.plan is None:
            return np.zeros((1, 1, 1), np.uint8)
        found = np.zeros(self.plan.grid.counts, np.uint8)
        for number, name in enumerate(MAPPED):
            at = np.ix_(*self._blocks_at_centres(name))
            for flags, value in ((self._done, number + 1), (self._failed, FAILED)):
                if (name, self.time) in flags:
                    here = flags[name, self.time][at]
                    found[here & (found != FAILED)] = value
        return found

    def cell_shape(self) -> tuple[float, float]:
        """Height and width of a block, in micrometres where the image states its scale."""
        plan = self.plan
        if plan is None:
            return 1.0, 1.0
        scale = plan.output.target.levels[0].scale_um or (1.0, 1.0, 1.0)
        size = [b * f * s for b, f, s in zip(plan.execution.block, plan.output.label_factors, scale, strict=True)]
        return size[1], size[2]

    def _blocks_at_centres(self, name: str) -> list[NDArray[np.int64]]:
        """By axis, the block of a pass in which the centre of each block of the working grid lies."""
        plan = self.plan
        if plan is None:
            return []
        grid, axes = self._grid(name), []
        for axis in range(3):
            start = np.arange(plan.grid.counts[axis]) * plan.execution.block[axis]
            middle = (start + np.minimum(start + plan.execution.block[axis], plan.shape[axis])) / 2
            factor = plan.output.label_factors[axis] if name in LABELLED else 1.0
            axes.append(np.minimum((middle * factor).astype(np.int64) // grid.block[axis], grid.counts[axis] - 1))
        return axes


def lay_out(cells: NDArray[np.uint8], aspect: float = 2.5) -> tuple[NDArray[np.float64], list[tuple[int, int, int]]]:
    """The layers of a map side by side, as one picture.

    Parameters
    ----------
    cells : ndarray of uint8, shape (z, y, x)
    aspect : float
        Columns by rows for which there is room.

    Returns
    -------
    picture : ndarray of float64, shape (h, w)
        Rows from top to bottom; NaN between layers.
    places : list of tuple
        For each layer that is shown, its number and the row and column of its first cell. Of very many layers some
        are shown, evenly chosen; of very wide ones every so manieth cell.
    """
    step = max(1, -(-len(cells) // MOST_LAYERS))
    shown = list(range(0, len(cells), step))
    skip = 1
    while len(shown) * -(-cells.shape[1] // skip) * -(-cells.shape[2] // skip) > MOST_CELLS:
        skip *= 2
    layers = cells[shown][:, ::skip, ::skip]
    n, height, width = layers.shape
    across = max(range(1, n + 1), key=lambda k: min(aspect / (k * width), 1 / (-(-n // k) * height)))
    down = -(-n // across)
    gap = max(1, round(0.06 * max(height, width)))
    picture = np.full((down * (height + gap) - gap, across * (width + gap) - gap), np.nan)
    places = []
    for k, layer in enumerate(layers):
        row, column = (k // across) * (height + gap), (k % across) * (width + gap)
        picture[row : row + height, column : column + width] = layer
        places.append((shown[k], row, column))
    return picture, places
