"""Estimates how much of a whole run is done, and the time left, from the progress of its passes.

A pass weighs as much as the seconds that its tasks take: those expected when the run began, and as soon as blocks are
measured, their seconds a voxel. The share that is done never goes down, though weights change.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bigcp3d.face.progress.pace import Pace, format_time

UNKNOWN = 10.0
"""Weight of a prediction whose time is not known yet, in times of all other passes."""


@dataclass
class RunPace:
    """The progress of a run.

    ``expected`` are the seconds that one worker needs for each pass. ``paces`` are those of the passes that have begun,
    and are changed by whoever counts blocks.
    """

    expected: dict[str, float]
    paces: dict[str, Pace]
    workers: int = 1
    ended: bool = False
    _highest: float = field(default=0.0, repr=False)

    def advance(self) -> float:
        """How much of the run is done, 0 to 1."""
        work = self._work()
        total = sum(whole for whole, _ in work.values())
        if "predict" not in work and "predict" in self.paces:
            whole = UNKNOWN * total
            work["predict"] = whole, whole * (1 - self.paces["predict"].fraction)
            total += whole
        left = sum(rest for _, rest in work.values())
        done = 1.0 if self.ended else (1 - left / total if total > 0 else 0.0)
        self._highest = max(self._highest, done)
        return self._highest

    @property
    def seconds_left(self) -> float | None:
        """Wall time that the rest takes; None while the time of the network is not known."""
        work = self._work()
        if self.ended:
            return 0.0
        if "predict" in self.paces and "predict" not in work:
            return None
        return sum(rest for _, rest in work.values()) / self._busy()

    def describe(self) -> str:
        """Share and time left as text: ``31 %, 0:42 left``."""
        share, left = self.advance(), self.seconds_left
        words = [f"{int(100 * share)} %"]
        if left is not None and share < 1:
            words.append(f"{format_time(left)} left")
        return ", ".join(words)

    def _work(self) -> dict[str, tuple[float, float]]:
        """Seconds of one worker for each pass whose time is known, and those that are left."""
        work = {}
        for name in {**self.expected, **self.paces}:
            pace = self.paces.get(name)
            whole = pace.worker_seconds if pace is not None and pace.measured else self.expected.get(name)
            if whole is not None:
                work[name] = whole, whole * (1 - (pace.fraction if pace is not None else 0.0))
        return work

    def _busy(self) -> float:
        """Workers that were at work, on average; before enough blocks are measured, the number of workers."""
        measured = [pace for pace in self.paces.values() if pace.measured]
        if sum(pace.measured for pace in measured) < 2 * self.workers:
            return float(self.workers)
        elapsed = max(pace.latest for pace in measured) - min(pace.began for pace in measured)
        seconds = sum(pace.seconds for pace in measured)
        return seconds / elapsed if elapsed > 0 and seconds > 0 else float(self.workers)
