"""Faults for workers of `test_faults`: Dask loads this module into each (``distributed.worker.preload``).

``FAULTS`` is a list of "<what> <pass>" separated by commas; each happens once among all workers, in the first task of
its pass that begins, with a file in ``FAULT_FOLDER`` that says so. Every task that begins adds a line to ``begun``.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

from bigcp3d.work.passes import passes

FOLDER = Path(os.environ["FAULT_FOLDER"])


def wait_for_more() -> None:
    """Until the parent has had time to act."""
    time.sleep(600)


def hog() -> None:
    """Take memory until the nanny ends this worker."""
    held = []
    while True:
        held.append(bytearray(b"x") * 2**26)
        time.sleep(0.01)


def fail(error: Exception) -> None:
    """Raise an error, as a function."""
    raise error


FAULTS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "kill-all": lambda: os.killpg(0, signal.SIGKILL),
    "kill-client": lambda: (os.kill(int((FOLDER / "client").read_text()), signal.SIGKILL), wait_for_more()),
    "interrupt": lambda: (os.kill(int((FOLDER / "client").read_text()), signal.SIGINT), wait_for_more()),
    "kill-scheduler": lambda: (os.kill(int((FOLDER / "scheduler").read_text()), signal.SIGKILL), wait_for_more()),
    "hang": wait_for_more,
    "always bug": lambda: fail(ZeroDivisionError("a bug")),
    "ioerror": lambda: fail(OSError(errno.EIO, "Input/output error")),
    "freeze": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "hog": hog,
    "always hog": hog,
}


def first(fault: str) -> bool:
    """Whether nobody had this fault before."""
    if fault.startswith("always"):
        return True
    try:
        with open(FOLDER / fault, "x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return False
    return True


def with_faults(name, function):
    """A pass, with its faults."""
    mine = [fault for fault in os.environ["FAULTS"].split(",") if fault.endswith(f" {name}")]

    def task(run, time_point, index):
        with open(FOLDER / "begun", "a") as file:
            file.write(f"{name} {time_point} {index}\n")
        for fault in mine:
            if first(fault):
                FAULTS[fault.rpartition(" ")[0]]()
        return function(run, time_point, index)

    return task


for name, function in list(passes.PASSES.items()):
    passes.PASSES[name] = with_faults(name, function)
