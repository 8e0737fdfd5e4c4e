"""Estimates how much of a whole run is done, and the time left, from the progress of its passes.

A pass weighs as much as the seconds that its tasks take: those expected when the run began, and as soon as blocks are
measured, their seconds a voxel. The share that is done never goes down, though weights change.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bigcp3d.face.progress.pace import Pace, format_time
from bigcp3d.schedule.running.events import (
    BlockDone,
    BlockGoesOn,
    ClusterReady,
    Event,
    PassStarted,
    RunFinished,
    RunPlanned,
    TimeExpected,
)
from bigcp3d.schedule.running.expected_time import expect_from_plan

UNKNOWN = 10.0
"""Weight of a prediction whose time is not known yet, in times of all other passes."""


@dataclass
class RunPace:
    """The progress of a run, which begins anew with each plan that it sees.

    ``expected`` are the seconds that one worker needs for each pass. ``paces`` are those of the passes that have begun.
    """

    expected: dict[str, float] = field(default_factory=dict)
    paces: dict[str, Pace] = field(default_factory=dict)
    workers: int = 1
    planned: bool = False
    ended: bool = False
    _highest: float = field(default=0.0, repr=False)

    def see(self, event: Event, now: float) -> None:
        """Take account of an event; ``now`` are the seconds of a clock that never goes back."""
        match event:
            case RunPlanned(plan):
                self.expected, self.paces, self.workers = expect_from_plan(plan), {}, plan.running.workers or 1
                self.planned, self.ended, self._highest = True, False, 0.0
            case ClusterReady(_, workers):
                self.workers = workers
            case TimeExpected(passes=passes):
                self.expected = passes
            case PassStarted(name, tasks, voxels):
                self.paces[name] = Pace(tasks, voxels, self.workers)
            case BlockDone():
                self.paces.setdefault(event.name, Pace(event.total, workers=self.workers)).count(event, now)
            case BlockGoesOn(name, voxels, share) if name in self.paces:
                self.paces[name].part_vox = voxels * share
            case RunFinished():
                self.ended = True

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
