"""The log of a worker: a line when a task begins, and when it is done or fails; and the library's own log.

::

    <work_dir>/logs/<host>-<pid>.log
    2026-11-25 16:02:11 INFO track of block (0, 1, 2), time 0: begins
    2026-11-25 16:02:12 INFO track of block (0, 1, 2), time 0: done, 0.8 s, 412 MiB

So the last line of a worker that was killed says which task it ran. The file is opened for each line, and a line that
cannot be written (a full disk) is lost. What Dask itself says goes there too, and that of the process that started the
run into a file of its own. Logs are removed with the work directory when the run ends well.
"""

from __future__ import annotations

import logging
import time as clock
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bigcp3d.pure.memory import format_bytes
from bigcp3d.work.plan.plan import PLAN_FILE
from bigcp3d.work.run.task_costs import Meter, this_worker


class TaskLog(logging.Handler):
    """The log of the calling process for one run."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        self.path = folder / f"{this_worker().replace(':', '-')}.log"

    def open(self) -> None:
        """Also log what the library logs in this process, from now on."""
        logging.getLogger("bigcp3d").addHandler(self)

    def close(self) -> None:
        """End what `open` began."""
        logging.getLogger("bigcp3d").removeHandler(self)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging."""
        self.write(record.levelname, self.format(record))

    def write(self, level: str, text: str) -> None:
        """Append a line; the folder is made with the first, in the work directory of a run that has not ended."""
        with suppress(OSError):
            if not self.path.parent.exists():
                if not (self.path.parent.parent / PLAN_FILE).exists():
                    return
                self.path.parent.mkdir(exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(f"{clock.strftime('%Y-%m-%d %H:%M:%S')} {level} {text}\n")

    @contextmanager
    def task(self, name: str, time: int, index: tuple[int, ...]) -> Iterator[Meter]:
        """Log a task, and measure it."""
        what = f"{name} of block {index}, time {time}"
        self.write("INFO", f"{what}: begins")
        try:
            with Meter() as meter:
                yield meter
        except BaseException as error:
            self.write("ERROR", f"{what}: failed: {type(error).__name__}: {error}\n{traceback.format_exc()}")
            raise
        self.write("INFO", f"{what}: done, {meter.seconds:.3g} s, {format_bytes(meter.peak_bytes)}")
