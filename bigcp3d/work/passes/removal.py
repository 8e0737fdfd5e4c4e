"""Removes intermediate files when the last task that reads them is recorded.

A task, once recorded, looks at each file that it has read, and removes it if all its readers are recorded. This is
safe:

- A recorded task never runs again.
- If two readers finish at once, both try to remove, and the second finds nothing, which is no error.
- A worker that counts as lost may still be reading. `Run.read` checks again after it has read, and tables are read
  whole, so such a worker fails and writes nothing.
- A task that is killed between its record and the removal leaves files behind. They go with the work directory.

The rows of a whole time point stay until then: they are small.
"""

from __future__ import annotations

import shutil
from contextlib import suppress

from bigcp3d.edge.workdir.records import read_record
from bigcp3d.pure.boxes import Vec3
from bigcp3d.work.run.run import Run

MOST_REMEMBERED = 100_000
"""Records that a worker remembers to have seen (20 MB). Then it forgets them all, and reads again what it needs."""


def remove_unneeded(run: Run, name: str, time: int, index: Vec3) -> None:
    """Remove files that a recorded task has read and no other task will read."""
    if name == "merge":  # only this task reads them
        shutil.rmtree(run.dir.parts(time, index), ignore_errors=True)
    for kind, blocks in run.inputs.of(name, index).items():
        if run.keeps(kind):
            continue
        for block in blocks:
            if all(_is_done(run, time, *reader) for reader in run.inputs.readers(kind, block)):
                with suppress(OSError):  # removed already, or held open and removed later with the work directory
                    run.dir.intermediate(kind, time, block).unlink()


def _is_done(run: Run, time: int, name: str, index: Vec3) -> bool:
    """Whether a task has a whole record."""
    key = (name, time, index)
    if key not in run.done and read_record(run.dir.records(time), name, index) is not None:
        if len(run.done) >= MOST_REMEMBERED:
            run.done.clear()
        run.done.add(key)
    return key in run.done
