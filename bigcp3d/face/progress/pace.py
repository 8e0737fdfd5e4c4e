"""How fast a pass goes and how long it will still take, from measured blocks; and numbers as people read them.

Blocks differ: those at the volume's end are smaller, and with several workers many are under way at a time. So speed
is voxels over wall time, from the moment when the first measured block was begun until the last one ended, over all
workers; and what is left is counted in voxels. Blocks that an earlier run had finished count as done and not as speed.
"""

from __future__ import annotations

from dataclasses import dataclass

from bigcp3d.schedule.running.events import BlockDone

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
    """Speed of one pass.

    Attributes
    ----------
    total, done : int
        Blocks of the pass; finished ones, those of earlier runs included.
    total_vox, done_vox : int
        The same in voxels; no voxels for a pass that runs once.
    workers : int
        How many blocks may be under way at a time.
    voxels, measured : int
        Voxels and blocks measured in this run.
    began, latest : float
        When the first measured block was started and the last one ended, in seconds of the caller's clock.
    """

    total: int
    total_vox: int = 0
    workers: int = 1
    done: int = 0
    done_vox: int = 0
    voxels: int = 0
    measured: int = 0
    began: float = float("inf")
    latest: float = 0.0

    def count(self, event: BlockDone, now: float) -> None:
        """Take one finished block into account."""
        self.done, self.total = max(self.done, event.done), event.total
        self.done_vox += event.voxels
        if event.seconds > 0:
            self.voxels += event.voxels
            self.measured += 1
            self.began = min(self.began, now - event.seconds)
            self.latest = now

    @property
    def fraction(self) -> float:
        """How much of the pass is done, 0 to 1, by voxels where it has any."""
        done, total = (self.done_vox, self.total_vox) if self.total_vox else (self.done, self.total)
        return 1.0 if self.done >= self.total else min(done / max(total, 1), 1.0)

    @property
    def voxels_per_second(self) -> float | None:
        """Voxels per second of wall time over all workers; None before the first measured block."""
        elapsed = self.latest - self.began
        return self.voxels / elapsed if self.measured and elapsed > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Wall time that the remaining voxels take at this run's mean pace; None while too little was measured.

        While the first blocks of several workers are under way together, only one is finished, and the time would come
        out several times too long. So there is none before as many are measured as there are workers, or a quarter of
        all.
        """
        if self.done >= self.total:
            return 0.0
        if self.measured < max(1, min(self.workers, self.total // 4)):
            return None
        speed = self.voxels_per_second
        if self.total_vox and speed:
            return max(0, self.total_vox - self.done_vox) / speed
        return (self.latest - self.began) / self.measured * (self.total - self.done)

    def describe(self) -> str:
        """Speed and time left as text: ``1.24 Mvoxel/s, 0:42 left``; empty where nothing was measured."""
        speed, left = self.voxels_per_second, self.seconds_left
        words = [format_count(speed, "voxel/s")] if speed else []
        if left is not None and self.done < self.total:
            words.append(f"{format_time(left)} left")
        return ", ".join(words)
