"""Estimates the speed and the time left of a pass, and formats counts and durations.

The speed is voxels per second of wall time over all workers, from the start of the first measured block to the end of
the last one: blocks differ in size, and several run at once. Blocks that an earlier run finished are not measured.
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
    """The progress and speed of one pass.

    ``total`` and ``done`` count blocks, with those of earlier runs; ``total_vox`` and ``done_vox`` count their voxels
    (0 for a pass that runs once), and ``part_vox`` those that are done of a block under way. This run did ``measured``
    blocks with ``voxels`` voxels in ``seconds`` of its workers, from ``began`` to ``latest`` on the caller's clock.
    """

    total: int
    total_vox: int = 0
    workers: int = 1
    done: int = 0
    done_vox: int = 0
    part_vox: float = 0.0
    voxels: int = 0
    measured: int = 0
    seconds: float = 0.0
    began: float = float("inf")
    latest: float = 0.0

    def count(self, event: BlockDone, now: float) -> None:
        """Count one finished block; blocks may come in any order."""
        self.done, self.total = max(self.done, event.done), event.total
        self.done_vox += event.voxels
        self.part_vox = 0.0
        if event.seconds > 0:
            self.voxels += event.voxels
            self.measured += 1
            self.seconds += event.seconds
            self.began = min(self.began, now - event.seconds)
            self.latest = max(self.latest, now)

    @property
    def fraction(self) -> float:
        """How much of the pass is done, 0 to 1, by voxels where it has any."""
        done, total = (self.done_vox + self.part_vox, self.total_vox) if self.total_vox else (self.done, self.total)
        return 1.0 if self.done >= self.total else min(done / max(total, 1), 1.0)

    @property
    def worker_seconds(self) -> float:
        """Seconds that one worker would need for the whole pass, from the blocks that were measured."""
        done, total = (self.voxels, self.total_vox) if self.total_vox and self.voxels else (self.measured, self.total)
        return self.seconds / max(done, 1) * total

    @property
    def voxels_per_second(self) -> float | None:
        """Voxels per second of wall time over all workers; None before the first measured block."""
        elapsed = self.latest - self.began
        return self.voxels / elapsed if self.measured and elapsed > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Wall time that the remaining voxels take at this run's mean speed.

        None until as many blocks are measured as there are workers, or a quarter of all: the first block alone would
        give a time several times too long.
        """
        if self.done >= self.total:
            return 0.0
        if self.measured < max(1, min(self.workers, self.total // 4)):
            return None
        speed = self.voxels_per_second
        if self.total_vox and speed:
            return max(0, self.total_vox - self.done_vox) / speed
        return (self.latest - self.began) / self.measured * (self.total - self.done)

    def as_json(self) -> dict[str, float | None]:
        """Voxels done, voxels, speed and time left, under the names that JSON output has."""
        return {
            "voxels_done": self.done_vox,
            "voxels": self.total_vox,
            "voxels_per_second": self.voxels_per_second,
            "seconds_left": self.seconds_left,
        }

    def describe(self) -> str:
        """Speed and time left as text: ``1.24 Mvoxel/s, 0:42 left``; empty where nothing was measured."""
        speed, left = self.voxels_per_second, self.seconds_left
        words = [format_count(speed, "voxel/s")] if speed else []
        if left is not None and self.done < self.total:
            words.append(f"{format_time(left)} left")
        return ", ".join(words)
