"""Adds up the counts of a run's tasks, sends events to the observer, and makes the summary."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from bigcp3d.edge.workdir.records import write_record
from bigcp3d.errors import BigCP3DError, BlockError
from bigcp3d.pure.boxes import vec3
from bigcp3d.pure.cells.found import Found
from bigcp3d.pure.cells.plausibility import Finding, find_oddities
from bigcp3d.pure.plural import count
from bigcp3d.pure.track.radius import expected_diameter
from bigcp3d.schedule.running.events import BlockDone, BlockFailed, Observer, PassStarted, Summary, Warned
from bigcp3d.schedule.running.serial import Failures
from bigcp3d.schedule.running.tasks import Pass, Task, count_passes
from bigcp3d.work.passes.passes import Counts
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.run.kept_maps import kept_of
from bigcp3d.work.run.unreadable_input import LostPiece
from bigcp3d.work.run.work_dir import WorkDir

TOTALS = ("cells", "unassigned_vox", "foreground_vox", "nonfinite_vox", "missing_chunks")
"""Counts of tasks that are added up for the summary."""

FLOW = ("foreground_vox", "unassigned_vox", "path_squares")
"""Counts of the ``track`` tasks of a time point, added up for the check of plausibility."""


class RunLog:
    """Counts of one run."""

    def __init__(self, observe: Observer, plan: Plan) -> None:
        self.observe, self.plan, self.work = observe, plan, WorkDir.of(plan)
        self.totals: Counter[str] = Counter()
        self.removed: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.all: Counter[str] = Counter()
        kept = kept_of(plan)
        self.processors = set(() if kept is None else kept.processors)
        self.flow: dict[int, Counter[str]] = defaultdict(Counter)
        self.cells: dict[int, dict[str, Any]] = {}

    def start(self, passes: list[list[Pass]]) -> None:
        """Begin a phase."""
        for name, (number, voxels) in count_passes(passes).items():
            self.all[name] += number
            self.observe(PassStarted(name, number, voxels))

    def add(self, task: Task, counts: Counts) -> None:
        """Count a finished task."""
        name, time, index = task.key
        self.done[name] += 1
        self.seconds[name] += counts["seconds"]
        for key in TOTALS:
            self.totals[key] += counts.get(key, 0)
        self.removed.update(counts.get("removed", {}))
        if processor := counts.get("processor"):
            self.processors.add(processor)
        if name == "track":
            self.flow[time].update({key: counts[key] for key in FLOW})
        if name == "resolve":
            self.cells[time] = counts["found"]
        ran = {"worker": counts.get("worker", ""), "gpu_peak_bytes": counts.get("gpu_peak_bytes", 0), "time": time}
        self.observe(BlockDone(name, index, task.voxels, counts["seconds"], self.done[name], self.all[name], **ran))

    def fail(self, task: Task, error: BaseException) -> None:
        """Record a task that failed."""
        name, time, index = task.key
        level, block = (index[0], vec3(index[1:])) if name == "pyramid" else ("", vec3(index))
        text = f"{type(error).__name__}: {error}"
        with suppress(OSError):  # the disk may be full
            write_record(
                self.work.failures(time), f"{name}{level}", block, {"pass": name, "index": index, "error": text}
            )
        if not (_ends_alone(name, error) and len(self.plan.where.times) == 1):
            self.observe(BlockFailed(name, time, index, text))

    def summary(self, seconds: float, lost_chunks: int, lost: list[LostPiece]) -> Summary:
        """The counts of the run, with what could not be read (`read_lost`). Sends warnings first."""
        plan, times = self.plan, self.plan.where.times
        for warning in self._warnings(lost_chunks, lost):
            self.observe(Warned(warning))
        found = {time: self._found(time) for time in times}
        oddities = list(describe_times({time: find_oddities(each) for time, each in found.items()}))
        for oddity in oddities:
            self.observe(Warned(oddity.text, oddity.kind))
        return Summary(
            labels=str(plan.output.target.path),
            name=plan.output.target.name,
            removed=dict(self.removed),
            blocks=plan.grid.count_touching(plan.scope.tracked) * len(times),
            voxels=plan.voxels,
            seconds=seconds,
            pass_seconds=dict(self.seconds),
            lost=[str(piece) for piece in lost],
            lost_chunks=lost_chunks,
            processors=sorted(self.processors),
            oddities=[oddity.text for oddity in oddities],
            found=[asdict(each) for each in found.values()],
            table=None,
            **{name: self.totals[name] for name in TOTALS},
        )

    def _warnings(self, lost_chunks: int, lost: list[LostPiece]) -> Iterator[str]:
        totals = self.totals
        if totals["nonfinite_vox"]:
            yield f"NaN or infinite in {count(totals['nonfinite_vox'], 'voxel')}: read as the lowest intensity"
        if totals["missing_chunks"]:
            yield (
                f"missing from the store of the image: {count(totals['missing_chunks'], 'chunk')}, read as the fill "
                "value, as Zarr defines; if none should be missing, the image is incomplete (--missing-chunks fail)"
            )
        if len(self.processors) > 1:
            yield (
                f"blocks were predicted on different kinds of processors ({'; '.join(sorted(self.processors))}), whose "
                "results may differ in the last bits. So another run may give slightly other labels: use workers of "
                "one kind"
            )
        if lost:
            named = "; ".join(map(str, lost[:5]))
            yield f"{count(lost_chunks, 'chunk')} could not be read, now background: {named}"

    def _found(self, time: int) -> Found:
        """What was found at a time point."""
        flow, plan = self.flow[time], self.plan
        asked = plan.asked.arguments
        diameter = None if "radius_vox" in asked else asked.get("diameter_um")
        return Found(
            diameter_vox=expected_diameter(plan.tracking.reach),
            diameter_um=diameter if isinstance(diameter, int | float) else None,
            volume_vox=round(plan.scope.wanted.size / math.prod(plan.output.label_factors)),
            foreground_vox=flow["foreground_vox"],
            assigned_vox=flow["foreground_vox"] - flow["unassigned_vox"],
            path_squares=flow["path_squares"],
            **self.cells[time],
        )


def describe_times(oddities: Mapping[int, list[Finding]]) -> Iterator[Finding]:
    """Each kind of finding once: that of the first time point, and at how many more it is so."""
    first: dict[str, tuple[int, Finding]] = {}
    for time, findings in oddities.items():
        for finding in findings:
            first.setdefault(finding.kind, (time, finding))
    for kind, (time, finding) in first.items():
        number = sum(kind in [other.kind for other in findings] for findings in oddities.values())
        where = f"time point {time}: " if len(oddities) > 1 else ""
        more = f" (the same at {count(number - 1, 'more time point')})" if number > 1 else ""
        yield Finding(kind, f"{where}{finding.text}{more}")


def _ends_alone(name: str, error: BaseException) -> bool:
    """Whether the error of a pass says all that the user needs, so that the run ends with it."""
    return name == "normalise" and isinstance(error, BigCP3DError)


def block_error(failures: Failures, plan: Plan) -> BigCP3DError:
    """The error for failed tasks: the task's own if it says what to do, else a list of blocks."""
    if len(failures) == 1:
        (((name, *_), error),) = failures.items()
        if isinstance(error, BigCP3DError) and _ends_alone(name, error):
            return error
    lines = [f"  {name} of block {index}, time {time}: {error!r}" for (name, time, index), error in failures.items()]
    more = [f"  and {len(lines) - 20} more"] if len(lines) > 20 else []
    raised = BlockError(
        f"{count(len(failures), 'block')} failed. Finished blocks are kept in "
        f"{plan.storage.work_dir}, and the same command continues from there:\n" + "\n".join(lines[:20] + more)
    )
    raised.__cause__ = next(iter(failures.values()))
    return raised
