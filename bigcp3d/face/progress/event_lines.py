"""Events for pipelines: ``--json`` writes one JSON object a line, and nothing else, to stdout.

Every line has ``event`` and ``time`` (UTC, ISO 8601). Fields may be added in later versions; none is renamed.

==========  ==========================================================================================================
event       other fields
==========  ==========================================================================================================
planned     version, image, labels, work_dir, shape, block (z, y, x, working voxels), blocks, voxels (of the image)
cluster     workers, dashboard (address, "" where there is none)
pass        pass, blocks, voxels: a pass begins
progress    pass, blocks_done, blocks, voxels_done, voxels, voxels_per_second, seconds_left (both null while unknown);
            at most one a second and pass, and one when it is complete
failed      pass, t, block, error: a block failed after its retries
warning     message
report      path: the report was written
finished    cells, labels, removed (by filter), unassigned_vox, foreground_vox, nonfinite_vox, blocks, voxels, seconds,
            pass_seconds (over all workers), lost, missing_chunks
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
from bigcp3d.face.progress.pace import Pace
from bigcp3d.schedule.running.events import (
    BlockDone,
    BlockFailed,
    ClusterReady,
    Event,
    PassStarted,
    ReportWritten,
    RunFinished,
    RunPlanned,
    Summary,
    Warned,
)

EVERY_S = 1.0
SUMMARY_FIELDS = (
    "cells", "labels", "removed", "unassigned_vox", "foreground_vox", "nonfinite_vox", "blocks", "voxels", "seconds",
    "pass_seconds", "lost", "missing_chunks",
)  # fmt: skip


@dataclass
class EventLines:
    """An observer that writes each event as a line of JSON, flushed at once for pipes; ``clock`` never goes back."""

    stream: TextIO = field(default_factory=lambda: sys.stdout)
    clock: Callable[[], float] = time.monotonic
    paces: dict[str, Pace] = field(default_factory=dict)
    workers: int = 1
    _said: dict[str, float] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """Write one event."""
        match event:
            case RunPlanned(plan):
                labels, shape = str(plan.output.target.path), plan.image_shape
                more = {
                    "image": plan.source.image.path,
                    "labels": labels,
                    "work_dir": plan.storage.work_dir,
                    "shape": plan.shape,
                }
                count = math.prod(shape) * len(plan.where.times)
                self.write(
                    "planned",
                    version=plan.version,
                    **more,
                    block=plan.execution.block,
                    blocks=len(plan.grid),
                    voxels=count,
                )
            case ClusterReady(dashboard, workers):
                self.workers = workers
                self.write("cluster", workers=workers, dashboard=dashboard)
            case PassStarted(name, tasks, voxels):
                self.paces[name] = Pace(tasks, voxels, self.workers)
                self.write("pass", **{"pass": name}, blocks=tasks, voxels=voxels)
            case BlockDone():
                self._advance(event)
            case BlockFailed(name, when, index, error):
                self.write("failed", **{"pass": name}, t=when, block=index, error=error)
            case Warned(message):
                self.write("warning", message=message)
            case ReportWritten(path):
                self.write("report", path=path)
            case RunFinished(summary):
                self.write("finished", **summary_fields(summary))

    def write(self, event: str, **fields: Any) -> None:
        """Write one line."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.stream.write(json.dumps({"event": event, "time": now, **fields}) + "\n")
        self.stream.flush()

    def write_error(self, error: BaseException) -> None:
        """Write the error, bug or Ctrl-C that ended the run."""
        message = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        self.write("error", kind=type(error).__name__, message=message, exit_code=exit_code_of(error))

    def _advance(self, event: BlockDone) -> None:
        now, name = self.clock(), event.name
        pace = self.paces.setdefault(name, Pace(event.total, workers=self.workers))
        pace.count(event, now)
        if pace.done < pace.total and now - self._said.get(name, -math.inf) < EVERY_S:
            return
        self._said[name] = now
        self.write(
            "progress",
            **{"pass": name},
            blocks_done=pace.done,
            blocks=pace.total,
            voxels_done=pace.done_vox,
            voxels=pace.total_vox,
            voxels_per_second=pace.voxels_per_second,
            seconds_left=pace.seconds_left,
        )


def summary_fields(summary: Summary) -> dict[str, Any]:
    """A run's summary as JSON."""
    return {name: getattr(summary, name) for name in SUMMARY_FIELDS}
