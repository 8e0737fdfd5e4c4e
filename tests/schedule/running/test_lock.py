"""One run at a time on a work directory and on labels: the second waits, or takes over from a dead one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bigcp3d
from bigcp3d.edge.workdir.lock_file import LockFile
from bigcp3d.errors import TargetError
from bigcp3d.schedule.running import lock as lock_module
from bigcp3d.schedule.running.events import BlockDone
from bigcp3d.schedule.running.lock import describe_holder, hold_locks, locks_of
from bigcp3d.work.passes import passes
from tests.schedule.conftest import SHAPE, Case

OTHER_HOST = {"host": "node7", "machine": "node7 boot pid"}


@pytest.fixture
def case(tissue_store, random_model, tmp_path) -> Case:
    return Case(tissue_store, random_model, tmp_path, block=SHAPE)


@contextmanager
def living_run(case: Case, **more):
    """Another process in the middle of a run: it waits in `track`."""
    settings = {**case.settings, "output": str(case.folder / "out.zarr"), "work_dir": str(case.work), **more}
    script = (
        "import pathlib, time, bigcp3d; from bigcp3d.work.passes import passes\n"
        f"passes.PASSES['track'] = lambda *_: (pathlib.Path({str(case.folder / 'waits')!r}).touch(), time.sleep(600))\n"
        f"bigcp3d.segment({case.store!r}, **{settings!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    try:
        while not (case.folder / "waits").exists():
            assert process.poll() is None
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_second_run_is_refused_while_the_first_lives_and_takes_over_when_it_is_dead(case, caplog):
    with living_run(case) as process:
        before = {path: path.read_bytes() for path in case.folder.rglob("*") if path.is_file()}
        for more in ({}, {"overwrite": True}, {"foreground": 0.7}, {"work_dir": case.folder / "elsewhere"}):
            with pytest.raises(TargetError, match=f"another run is working: process {process.pid} on .* since 20"):
                case.segment(**more)
        assert {path: path.read_bytes() for path in case.folder.rglob("*") if path.is_file()} == before
        beside = case.segment("other.zarr", work_dir=case.folder / "other")
        os.kill(process.pid, signal.SIGKILL)
        while describe_holder(LockFile(case.work))[1]:  # it is a zombie, which nobody has waited for
            time.sleep(0.01)
        events = []
        labels = case.segment(on_event=events.append)
    assert f"an earlier run is dead, and this one takes its place: process {process.pid}" in caplog.text
    assert not [e for e in events if isinstance(e, BlockDone) and e.name == "predict" and e.seconds > 0]
    assert np.array_equal(labels, case.whole())
    assert np.array_equal(beside, labels), "a run on other labels runs beside it"
    assert not list(case.folder.rglob("*lock.json*"))


def test_of_many_that_take_over_at_once_one_succeeds(case):
    case.work.mkdir()
    with hold_locks(locks_of(case.plan())) as held:
        dead = replace(held.holder, id="dead", pid=2**22 + 1)
    case.work.mkdir(exist_ok=True)
    LockFile(case.work).create(dead)
    plan, holding = case.plan(), []

    def attempt(_):
        try:
            with hold_locks(locks_of(plan)):
                holding.append(1)
                time.sleep(0.5)
            return True
        except TargetError:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1
    assert len(holding) == 1


@pytest.mark.parametrize("lives", [True, False])
def test_a_holder_elsewhere_is_watched_for_signs_of_life(case, monkeypatch, lives):
    monkeypatch.setattr(lock_module, "STALE_S", 0.6)
    with hold_locks(locks_of(case.plan())) as held:
        elsewhere = replace(held.holder, id="elsewhere", **OTHER_HOST)
    case.work.mkdir(parents=True, exist_ok=True)
    lock = LockFile(case.work)
    lock.create(elsewhere)
    with pytest.raises(TargetError, match=r"on node7 since .*last sign of life 0 s ago"):
        case.segment()  # its sign is new
    os.utime(lock.path, (1, 1))  # old, or its clock is wrong
    with ThreadPoolExecutor(1) as pool:
        if lives:
            pool.submit(lambda: (time.sleep(0.3), os.utime(lock.path, (2, 2))))
            with pytest.raises(TargetError, match="and one just now"):
                case.segment()
        else:
            assert np.array_equal(case.segment(), case.whole())


def test_a_run_whose_lock_was_taken_over_ends(case, monkeypatch):
    monkeypatch.setattr(lock_module, "SIGN_EVERY_S", 0.05)
    track, taken = passes.PASSES["track"], []

    def lose(run, time_point, index):
        if not taken:
            lock = LockFile(case.work)
            taken.append(replace(lock.read()[0], id="elsewhere", **OTHER_HOST))
            lock.replace(taken[0])
            time.sleep(0.5)
        return track(run, time_point, index)

    monkeypatch.setitem(passes.PASSES, "track", lose)
    with pytest.raises(TargetError, match="this run has lost its lock"):
        case.segment()
    assert LockFile(case.work).read()[0] == taken[0]  # the other's lock stays


def test_a_place_beside_the_labels_that_cannot_be_written_is_told_and_no_obstacle(case, monkeypatch, caplog):
    create = LockFile.create

    def refuse(lock, holder):
        if lock.path.parent != case.work:
            raise PermissionError(13, "Permission denied")
        return create(lock, holder)

    monkeypatch.setattr(LockFile, "create", refuse)
    assert case.segment().any()
    assert "a second run on these labels would not be noticed" in caplog.text


def test_a_work_directory_that_cannot_be_written_is_refused(case, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match=r"not a folder with write permission.*give another --work-dir"):
        bigcp3d.segment(case.store, **case.settings, output=tmp_path / "o.zarr", work_dir=tmp_path / "file" / "work")
    assert not Path(tmp_path / "o.zarr").exists()


def test_without_proc_a_machine_is_known_by_its_name_and_a_dead_holder_is_still_found(case, monkeypatch):
    def refuse(path, **more):
        raise FileNotFoundError(str(path))

    monkeypatch.setattr(lock_module.os, "readlink", refuse)
    monkeypatch.setattr(Path, "read_text", refuse)
    case.work.mkdir()
    with hold_locks(locks_of(case.plan())) as held:
        assert held.holder.machine == socket.gethostname()
        assert describe_holder(LockFile(case.work))[1]
    case.work.mkdir(exist_ok=True)
    LockFile(case.work).create(replace(held.holder, pid=2**22 + 1))
    assert not describe_holder(LockFile(case.work))[1]
