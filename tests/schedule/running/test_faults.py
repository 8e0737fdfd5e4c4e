"""What happens on clusters, to runs from the command line: what they say, how they end, and what carrying on makes.

After each fault the same command gives the labels of the undisturbed run, element by element, and tasks that were
finished are not computed again: over both runs at most those begin once more that were in flight.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import dask.config
import numpy as np
import psutil
import pytest
from distributed import LocalCluster
from typer.testing import CliRunner
from zarr.storage import LocalStore

import bigcp3d
from bigcp3d.errors import BigCP3DError, FullDiskError
from bigcp3d.face.cli import app
from bigcp3d.schedule.running.events import BlockDone
from bigcp3d.schedule.running.tasks import in_order, label_passes, object_passes
from bigcp3d.work.run import unreadable_input as lost
from tests.processes import PROCESSES, quick_workers
from tests.schedule.conftest import ERROR, SHAPE, Case, read_labels

OURS = ("runs on Dask, ", "Dask cluster with ", "all ", "warning: ", "FAILED: ", "bigcp3d: ", "  ")
PASSES = ("normalise", "predict", "merge", "track", "cluster", "join", "check", "resolve", "label")
WORKERS = 2
PRELOAD = {"distributed.worker.preload": ["tests.schedule.running.faulty"]}


class Faulty(Case):
    """A run from the command line, on workers that have faults."""

    def __init__(self, store: str, model: str, folder: Path, **more) -> None:
        super().__init__(store, model, folder, **ERROR, **more)
        self.faults = folder / "faults"
        self.faults.mkdir()

    def words(self, *options: str) -> list[str]:
        """The command line."""
        words = ["segment", self.store, "--model", self.settings["model"], "--diameter", "as-is", "--no-report"]
        words += ["--output", str(self.folder / "out.zarr"), "--work-dir", str(self.work)]
        words += ["--block", "17", "30", "26", "--min-volume", "2", "--max-flow-error", "2", *options]
        return words + (["--maps", str(self.settings["maps"])] if "maps" in self.settings else [])

    def start(self, *options: str, faults: str = "", **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "bigcp3d.face.cli", *self.words(*options)]
        preload = {
            "DASK_DISTRIBUTED__WORKER__PRELOAD": "['tests.schedule.running.faulty']",
            "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
            "FAULTS": faults,
            "FAULT_FOLDER": str(self.faults),
            "OMP_NUM_THREADS": "1",
        }
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **preload, **environment},
            start_new_session=True,
        )
        (self.faults / "client").write_text(str(process.pid))
        return process

    def run(self, *options: str, **more: str) -> tuple[int, str]:
        """Exit code, and what it said on stderr."""
        process = self.start(*(options or ("--workers", str(WORKERS))), **more)
        _, said = process.communicate(timeout=240)
        return process.returncode, said

    def run_here(self, *options: str, faults: str = "", **config: object) -> tuple[int, str]:
        """The same in this process and on one worker, both of which start at once."""
        environment = {"distributed.nanny.environ": {"FAULTS": faults, "FAULT_FOLDER": str(self.faults)}}
        with quick_workers(), dask.config.set({**PRELOAD, **environment, **config}):
            done = CliRunner().invoke(app, self.words(*(options or ("--workers", "1"))), prog_name="bigcp3d")
        return done.exit_code, done.stderr

    def begun(self) -> int:
        return len((self.faults / "begun").read_text().splitlines())

    def finish(self, *, in_flight: int) -> np.ndarray:
        """The same run in this process, without faults; checks how much began again."""
        before, events = self.begun(), []
        labels = self.segment(on_event=events.append)
        now = sum(isinstance(event, BlockDone) and event.seconds > 0 for event in events)
        tasks = [task for make in (object_passes, label_passes) for task in in_order(make(self.plan()))]
        assert now < len(tasks), "something was done before"
        assert 0 <= before + now - len(tasks) <= in_flight
        return labels

    def plan(self):
        """Of the same run into another place, for what is finished is refused."""
        return super().plan(output=self.folder / "other.zarr", work_dir=self.folder / "other")


@pytest.fixture(scope="module")
def whole(tissue_store, random_model, tmp_path_factory) -> np.ndarray:
    return Case(tissue_store, random_model, tmp_path_factory.mktemp("whole"), **ERROR).whole()


@pytest.fixture
def faulty(tissue_store, random_model, tmp_path) -> Faulty:
    """With all passes."""
    return Faulty(tissue_store, random_model, tmp_path)


@pytest.fixture
def given(tissue_store, random_model, kept_maps, tmp_path) -> Faulty:
    """With the passes that follow the network, on maps that are given."""
    return Faulty(tissue_store, random_model, tmp_path, maps=kept_maps)


def wait_until(condition, seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def others(said: str) -> list[str]:
    """Lines that are not bigcp3d's."""
    pace = tuple(f"{name} {digit}" for name in (*PASSES, "pyramid") for digit in range(10))
    return [line for line in said.splitlines() if not line.startswith((*OURS, *pace))]


def test_what_happens_to_workers_costs_the_tasks_that_they_were_at_and_is_not_shown(given, whole, capfd):
    """The only one is killed; the next is long in coming, and meets an error that passes.

    Dask gives a lost worker up after a time, and with the last one the run would wait for ever.
    """
    faults = ["kill cluster", "ioerror resolve"]
    impatient = {"distributed.deploy.lost-worker-timeout": "1ms"}
    code, said = given.run_here(faults=",".join(faults), **impatient)
    assert code == 0, said
    assert others(said) == others(capfd.readouterr().err) == []
    assert all((given.faults / fault).exists() for fault in faults)
    assert np.array_equal(read_labels(given.folder / "out.zarr", "cells"), whole)
    tasks = [task for make in (object_passes, label_passes) for task in in_order(make(given.plan()))]
    assert 0 < given.begun() - len(tasks) <= len(faults) * WORKERS
    assert not given.work.exists()


@pytest.mark.slow
def test_a_worker_killed_in_each_pass_costs_the_task_that_it_was_at(faulty, whole):
    code, said = faulty.run(faults=",".join(f"kill {name}" for name in PASSES))
    assert code == 0, said
    assert all((faulty.faults / f"kill {name}").exists() for name in PASSES)
    assert np.array_equal(read_labels(faulty.folder / "out.zarr", "cells"), whole)
    tasks = [task for make in (object_passes, label_passes) for task in in_order(make(faulty.plan()))]
    assert faulty.begun() - len(tasks) <= len(PASSES) * WORKERS


@pytest.mark.slow
def test_workers_that_take_long_to_come_back_are_waited_for(faulty, whole):
    """Dask gives a lost worker up after a time, and with the last one the run would wait for ever."""
    impatient = {"DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1ms"}
    code, said = faulty.run(faults="kill track,kill cluster,kill label", **impatient)
    assert code == 0, said
    assert np.array_equal(read_labels(faulty.folder / "out.zarr", "cells"), whole)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["kill-all cluster", *(f"kill-client {p}" for p in PASSES[1:])])
def test_a_killed_client_or_all_at_once_is_carried_on(faulty, whole, fault):
    code, _ = faulty.run(faults=fault)
    assert code == -signal.SIGKILL
    assert np.array_equal(faulty.finish(in_flight=WORKERS), whole)


def be_a_cluster(faulty: Faulty, faults: str) -> None:
    """A scheduler and a worker on loopback, in a process of their own."""
    os.environ |= {"FAULTS": faults, "FAULT_FOLDER": str(faulty.faults)}
    where = {"host": "127.0.0.1", "protocol": "tcp://", "dashboard_address": None, "processes": False}
    with dask.config.set(PRELOAD), LocalCluster(n_workers=1, threads_per_worker=1, **where) as cluster:
        (faulty.faults / "scheduler").write_text(str(os.getpid()))
        (faulty.faults / "address").write_text(cluster.scheduler_address)
        time.sleep(600)


@contextmanager
def cluster(faulty: Faulty, faults: str):
    """The address of such a cluster."""
    process, address = PROCESSES.Process(target=be_a_cluster, args=(faulty, faults)), faulty.faults / "address"
    process.start()
    try:
        wait_until(lambda: address.exists() and address.read_text())
        yield address.read_text()
    finally:
        process.kill()
        process.join()


def test_a_killed_scheduler_is_told_in_a_line_and_the_run_carried_on(given, whole):
    with cluster(given, "kill-scheduler track") as address:
        code, said = given.run_here("--scheduler", address, **{"distributed.comm.timeouts.connect": "5s"})
    assert code == 4, said
    assert f"the Dask scheduler {address} was lost" in said
    assert "the same command continues" in said
    assert "Traceback" not in said
    assert np.array_equal(given.finish(in_flight=WORKERS), whole)


@pytest.mark.slow
@pytest.mark.parametrize("given_up", [False, True], ids=["waited for", "given up"])
def test_a_worker_that_is_frozen_and_comes_back_does_no_harm(faulty, whole, given_up):
    """Given up: its task runs elsewhere, and then it goes on and writes the same."""
    patience = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "2s"} if given_up else {}
    process = faulty.start("--workers", "2", faults="freeze track", **patience)
    wait_until(lambda: (faulty.faults / "freeze track").exists() and (faulty.faults / "freeze track").read_text())
    time.sleep(6.0 if given_up else 1.0)
    try:
        os.kill(int((faulty.faults / "freeze track").read_text()), signal.SIGCONT)
    except ProcessLookupError:
        assert given_up
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert np.array_equal(read_labels(faulty.folder / "out.zarr", "cells"), whole)


@pytest.mark.slow
def test_a_worker_over_its_memory_limit_is_replaced_and_the_run_ends_well(faulty, whole):
    code, said = faulty.run("--workers", "2", "--memory-limit", "1300MiB", faults="hog track")
    assert code == 0, said
    assert (faulty.faults / "hog track").exists()
    assert np.array_equal(read_labels(faulty.folder / "out.zarr", "cells"), whole)


@pytest.mark.slow
def test_a_task_that_always_needs_too_much_memory_fails_by_name_with_the_cure(faulty, whole):
    code, said = faulty.run("--workers", "2", "--memory-limit", "1300MiB", faults="always hog resolve")
    assert code == 4, said
    assert "resolve of block (0, 0, 0)" in said
    assert "times while they ran it" in said
    assert "--memory-limit" in said
    assert np.array_equal(faulty.finish(in_flight=4), whole)


def test_ctrl_c_ends_with_130_in_a_line_and_leaves_nothing_running(given, whole):
    process = given.start("--workers", "1", faults="interrupt track")
    group = []

    def watch():
        while process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                if child not in group:
                    group.append(child)
            time.sleep(0.1)

    def quietly():
        with suppress(psutil.Error):
            watch()

    watcher = threading.Thread(target=quietly)
    watcher.start()
    _, said = process.communicate(timeout=120)
    watcher.join()
    assert process.returncode == 130, said
    assert "interrupted; finished blocks are kept, and the same command continues" in said
    assert others(said) == []
    wait_until(lambda: not any(child.is_running() for child in group), 20)
    assert np.array_equal(given.finish(in_flight=WORKERS), whole)


def test_a_disk_that_fills_ends_the_run_and_is_carried_on_with_space(faulty, whole, small_disk):
    disk, enlarge = small_disk
    faulty.work = disk / "work"
    with pytest.raises(FullDiskError, match=r"No space left.*Finished blocks are kept") as failed:
        faulty.segment()
    assert failed.value.exit_code == 3
    done = sorted(faulty.work.glob("run-*/t0/records/*/*.json"))
    enlarge()
    assert np.array_equal(faulty.segment(), whole)
    assert done


def test_a_store_that_errs_now_and_then_and_is_slow_costs_time_alone(faulty, whole, monkeypatch):
    """Every read of zarr, of image and intermediates, may fail or take a while; a run may end, and is carried on."""
    rng, get, errors = random.Random(0), LocalStore.get, []

    async def flaky(store, key, *arguments, **more):
        draw = rng.random()
        if draw < 0.02:
            errors.append(key)
            raise OSError(errno.EIO, "Input/output error")
        if draw < 0.05:
            time.sleep(0.01)
        return await get(store, key, *arguments, **more)

    monkeypatch.setattr(LocalStore, "get", flaky)
    ended = []
    for _ in range(30):
        try:
            bigcp3d.segment(faulty.store, **faulty.settings, output=faulty.folder / "out.zarr", work_dir=faulty.work)
            break
        except BigCP3DError as error:
            ended.append(str(error))
    monkeypatch.undo()
    labels = read_labels(faulty.folder / "out.zarr", "cells")
    assert all("Input/output error" in said for said in ended)
    assert len(errors) > 3
    assert np.array_equal(labels, whole)


def test_reading_the_image_is_tried_again_before_a_block_fails(given, whole, monkeypatch):
    read, calls = lost.read_box, []

    def flaky(*arguments, **more):
        calls.append(1)
        if len(calls) % lost.TRIES:
            raise bigcp3d.errors.InputError("away")
        return read(*arguments, **more)

    monkeypatch.setattr(lost, "read_box", flaky)
    assert np.array_equal(given.segment(), whole)
    assert whole.shape == SHAPE
