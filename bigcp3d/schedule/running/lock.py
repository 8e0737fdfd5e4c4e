"""Locks: only one run at a time uses a work directory, and the labels that it writes.

A run locks its work directory and the default work directory of its labels. A second run is refused while the first
lives, and takes over from a dead one:

- On the same machine, the process is looked up by its number and the time when it began.
- From another machine or container, only signs of life are seen, one every 15 seconds. If the last one is at most a
  minute old, the holder lives. Else the lock is watched for a minute, because the clocks may differ.

A holder that sleeps for longer may lose its lock to another machine. A run notices this at its next task, and ends. Its
labels stay correct, because tasks of equal settings write equal bytes. A change of labels looks at its lock before it
begins, and before it counts. What one machine writes must be seen by others within a minute.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time as clock
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psutil

from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.stores.places import is_address
from bigcp3d.edge.workdir.lock_file import Holder, LockFile
from bigcp3d.errors import TargetError
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.run.work_dir import default_work_dir

log = logging.getLogger(__name__)

SIGN_EVERY_S = 15.0
STALE_S = 60.0


class Hold:
    """Locks that this run holds. A thread gives their signs of life."""

    def __init__(self, locks: list[LockFile], holder: Holder) -> None:
        self.locks, self.holder = locks, holder
        self._ended, self._lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._live, name="bigcp3d-lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise a `TargetError` if another run has taken over."""
        if self._lost.is_set():
            raise TargetError(
                f"{self.locks[0]}: this run has lost its lock: another run has taken it, because this one gave no sign "
                f"of life for more than {STALE_S:g} s, or somebody removed the file. Wait until no other run works "
                "here (bigcp3d status), and repeat the command"
            )

    def confirm(self) -> None:
        """Like `check`, after a look at the locks now: this process may have slept."""
        self._look()
        self.check()

    def release(self) -> None:
        """Remove the locks that are still ours."""
        self._ended.set()
        self._thread.join()
        for lock in self.locks:
            found = lock.read()
            if found is not None and found[0] == self.holder:
                lock.remove()

    def _live(self) -> None:
        while not self._ended.wait(SIGN_EVERY_S):
            self._look()

    def _look(self) -> None:
        """Give a sign of life, or notice that a lock is lost."""
        for lock in self.locks:
            with suppress(OSError):  # the file system does not answer; the next sign may succeed
                found = lock.read()
                if found is None or found[0] != self.holder:
                    self._lost.set()
                else:
                    lock.touch()


def describe_holder(lock: LockFile) -> tuple[str, bool] | None:
    """The holder of a lock in words, and whether it seems to live; None if nobody holds the lock."""
    found = lock.read()
    if found is None:
        return None
    holder, sign = found
    age = clock.time() - sign
    ago = f"last sign of life {age:.0f} s ago"
    if holder is None:
        return f"an unknown process (the lock file cannot be read), {ago}", abs(age) <= STALE_S
    since = clock.strftime("%Y-%m-%d %H:%M:%S", clock.localtime(holder.since))
    words = f"process {holder.pid} on {holder.host} since {since}"
    if holder.machine == _machine():
        return words, _is_running(holder)
    return f"{words}, {ago}", abs(age) <= STALE_S


def locks_of(plan: Plan) -> list[LockFile]:
    """The locks that a run takes: that of its work directory, then that of the labels."""
    return find_locks(plan.storage.work_dir, plan.output.target)


def find_locks(work_dir: str | Path, target: LabelTarget) -> list[LockFile]:
    """The locks of a work directory and of the labels that are written."""
    group = target.group if is_address(target.group) else os.path.realpath(target.group)
    folders = [Path(work_dir), default_work_dir(group, target.name)]
    return [LockFile(folder) for folder in dict.fromkeys(folder.absolute() for folder in folders)]


def refuse_if_held(locks: list[LockFile]) -> None:
    """Raise a `TargetError` if another run that holds one of these locks lives. Writes nothing."""
    for lock in locks:
        found = describe_holder(lock)
        if found is not None and found[1]:
            raise _held(lock, found[0])


@contextmanager
def hold_locks(locks: list[LockFile]) -> Iterator[Hold]:
    """Hold some locks, of which the first must be writable. `TargetError` if another run lives or it is not."""
    holder = Holder(
        id=uuid4().hex,
        host=socket.gethostname(),
        machine=_machine(),
        pid=os.getpid(),
        started=psutil.Process().create_time(),
        since=clock.time(),
    )
    with ExitStack() as taken:
        own, *others = locks
        _take(own, holder)
        taken.callback(own.remove)
        for lock in list(others):
            try:
                _take(lock, holder)
            except TargetError as error:
                if not isinstance(error.__cause__, OSError):
                    raise
                log.warning(
                    "%s cannot be written, so a second run on these labels would not be noticed; do not start one", lock
                )
                others.remove(lock)
            else:
                taken.callback(lock.remove)
        taken.pop_all()
        held = Hold([own, *others], holder)
    try:
        yield held
    finally:
        held.release()


def _take(lock: LockFile, holder: Holder) -> None:
    """Take one lock that nobody or a dead run holds."""
    for _ in range(100):
        try:
            if lock.create(holder):
                return
        except OSError as error:
            raise TargetError(f"cannot write to {lock}: {error.strerror}; give another --work-dir") from error
        found = lock.read()
        if found is None:
            continue
        words = _refuse_living(lock)
        if _take_over(lock, found[0], holder):
            log.warning("an earlier run is dead, and this one takes its place: %s", words)
            return
    raise _held(lock, "several runs in turn")


def _refuse_living(lock: LockFile) -> str:
    """The dead holder in words; raises if it lives. A holder on another machine is watched first."""
    found = describe_holder(lock)
    if found is None:
        return "a run that has just ended"
    if found[1]:
        raise _held(lock, found[0])
    before = lock.read()
    if before is not None and (before[0] is None or before[0].machine != _machine()):
        log.warning("%s is held by %s: waiting %g s to see whether that run still works", lock, found[0], STALE_S)
        until = clock.monotonic() + STALE_S
        while clock.monotonic() < until:
            clock.sleep(min(1.0, STALE_S / 4))
            if lock.read() != before:
                raise _held(lock, found[0] + ", and one just now")
    return found[0]


def _take_over(lock: LockFile, dead: Holder | None, holder: Holder) -> bool:
    """Replace a dead holder. If several runs try at once, one succeeds."""
    claim = LockFile(lock.path.parent, f"{lock.path.name}.after-{dead.id if dead else 'unknown'}")
    if not claim.create(holder):
        found = describe_holder(claim)
        if found is not None and not found[1]:  # the run that claimed it has died
            claim.path.unlink(missing_ok=True)
        clock.sleep(0.05)
        return False
    try:
        found_now = lock.read()
        if found_now is None or found_now[0] != dead:
            return False
        lock.replace(holder)
        return True
    finally:
        claim.path.unlink(missing_ok=True)


def _held(lock: LockFile, who: str) -> TargetError:
    return TargetError(
        f"another run is working: {who}; it holds {lock}. Wait until it ends (see: bigcp3d status), stop it, or give "
        "another --name"
    )


def _is_running(holder: Holder) -> bool:
    """Whether the process is still there; another process with its number does not count."""
    try:
        process = psutil.Process(holder.pid)
        return bool(process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - holder.started) < 2.0)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # it is there, but belongs to another user
        return True


def _machine() -> str:
    """Host, its last start, and namespace of processes: where these are equal, so is the meaning of a number."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)
