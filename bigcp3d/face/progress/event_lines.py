"""Writes events for pipelines: with ``--json``, stdout gets one JSON object on each line, and nothing else.

Every line has ``event`` and ``time`` (UTC, ISO 8601). Fields may be added in later versions; none is renamed.

==========  ==========================================================================================================
event       other fields
==========  ==========================================================================================================
estimating  what: "the diameter", "the model" or both are estimated on a few crops, because the user left them out
estimated   model, chosen (why; "" if the user gave it), diameter (null if the user gave it), in_um (false: in
            voxels), low, high (80 % of the cells lie between), cells, doubts
planned     version, image, labels, work_dir, shape, block (z, y, x, working voxels), blocks, voxels (to label),
            executor (serial or dask), workers (null if not known), seconds (wall time of the run, roughly, from the
            speed of this processor; null while unknown), estimated (as in the event of that name, or null)
cluster     workers, dashboard (address, "" where there is none)
expected    seconds (wall time of the run), patch_seconds, patches: a patch was measured, in runs of many patches
pass        pass, blocks, voxels: a pass begins
progress    pass, blocks_done, blocks, voxels_done, voxels, voxels_per_second, seconds_left (both null while unknown),
            run_fraction (0 to 1, never less than before), run_seconds_left (null while unknown);
            at most one a second for each pass (in runs of hours less often), and one when it is complete
failed      pass, t, block, error: a block failed
note        message: something that the user should know, but no warning
warning     message, kind: what is odd about the cells ("crooked flow", "size", ...), "" for any other warning
report      path: the report was written
finished    cells, labels, removed (by filter), unassigned_vox, foreground_vox, nonfinite_vox, blocks, voxels, seconds,
            pass_seconds (over all workers), lost (chunks, at most 1000), lost_chunks (how many), missing_chunks,
            oddities (as in the warnings), found (for each time point, the numbers that gave the oddities), table
            (where it is, or null)
error       kind, message, exit_code: an error, a bug or Ctrl-C ended the run; the last line
==========  ==========================================================================================================
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TextIO

from bigcp3d.face.exit_codes import exit_code_of
from bigcp3d.face.progress.run_pace import RunPace
from bigcp3d.schedule.running.events import (
    BlockDone,
    BlockFailed,
    ClusterReady,
    Estimated,
    EstimateStarted,
    Event,
    Noted,
    PassStarted,
    ReportWritten,
    RunFinished,
    RunPlanned,
    TimeExpected,
    Warned,
)
from bigcp3d.schedule.running.expected_time import wall_seconds
from bigcp3d.work.plan.plan import Plan

EVERY_S, EVERY_SHARE = 1.0, 0.001
"""The least time between two lines of a pass: seconds, and share of the time since the run began."""

SUMMARY_FIELDS = (
    "cells", "labels", "removed", "unassigned_vox", "foreground_vox", "nonfinite_vox", "blocks", "voxels", "seconds",
    "pass_seconds", "lost", "lost_chunks", "missing_chunks", "oddities", "found", "table",
)  # fmt: skip


@dataclass
class EventLines:
    """An observer that writes each event at once as a line of JSON. ``clock`` is a clock that never goes back."""

    stream: TextIO = field(default_factory=lambda: sys.stdout)
    clock: Callable[[], float] = time.monotonic
    run: RunPace = field(default_factory=RunPace)
    _said: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def __call__(self, event: Event) -> None:
        """Write one event."""
        self.run.see(event, self.clock())
        match event:
            case EstimateStarted(what):
                self.write("estimating", what=what)
            case Estimated(guess):
                self.write("estimated", **guess.answer)
            case RunPlanned(plan):
                self._begin(plan)
            case ClusterReady(dashboard, workers):
                self.write("cluster", workers=workers, dashboard=dashboard)
            case TimeExpected(seconds, _, patch_seconds, patches):
                self.write("expected", seconds=seconds, patch_seconds=patch_seconds, patches=patches)
            case PassStarted(name, tasks, voxels):
                self.write("pass", **{"pass": name}, blocks=tasks, voxels=voxels)
            case BlockDone():
                self._advance(event)
            case BlockFailed(name, when, index, error):
                self.write("failed", **{"pass": name}, t=when, block=index, error=error)
            case Warned(message, kind):
                self.write("warning", message=message, kind=kind)
            case Noted(message):
                self.write("note", message=message)
            case ReportWritten(path):
                self.write("report", path=path)
            case RunFinished(summary):
                self.write("finished", **{name: getattr(summary, name) for name in SUMMARY_FIELDS})

    def write(self, event: str, **fields: Any) -> None:
        """Write one line."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.stream.write(json.dumps({"event": event, "time": now, **fields}) + "\n")
        self.stream.flush()

    def write_error(self, error: BaseException) -> None:
        """Write what ended the run: an error, a bug or Ctrl-C."""
        message = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        self.write("error", kind=type(error).__name__, message=message, exit_code=exit_code_of(error))

    def _begin(self, plan: Plan) -> None:
        expected = self.run.expected
        known = not plan.predicts or "predict" in expected
        self._said.clear()
        self._began = self.clock()
        self.write(
            "planned",
            version=plan.version,
            image=plan.source.image.path,
            labels=str(plan.output.target.path),
            work_dir=plan.storage.work_dir,
            shape=plan.shape,
            block=plan.execution.block,
            blocks=len(plan.grid),
            voxels=plan.voxels,
            executor=plan.running.executor,
            workers=plan.running.workers,
            seconds=wall_seconds(plan, expected) if known else None,
            estimated=plan.guess and plan.guess.answer,
        )

    def _advance(self, event: BlockDone) -> None:
        now, name = self.clock(), event.name
        pace = self.run.paces[name]
        least = max(EVERY_S, EVERY_SHARE * (now - self._began))
        if pace.done < pace.total and now - self._said.get(name, -math.inf) < least:
            return
        self._said[name] = now
        self.write(
            "progress",
            **{"pass": name},
            blocks_done=pace.done,
            blocks=pace.total,
            **pace.as_json(),
            run_fraction=self.run.advance() if self.run.planned else None,
            run_seconds_left=self.run.seconds_left if self.run.planned else None,
        )
