"""A run seen from another terminal: counts, rate, failures, and whether it lives; nothing is touched."""

from __future__ import annotations

import json
import re
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
import zarr
from typer.testing import CliRunner

import bigcp3d
from bigcp3d.edge.workdir.lock_file import LockFile
from bigcp3d.edge.workdir.records import write_record
from bigcp3d.errors import BlockError, TargetError
from bigcp3d.face.cli import app
from bigcp3d.face.commands.status import paces
from bigcp3d.schedule import update
from bigcp3d.schedule.running import lock, status
from bigcp3d.schedule.running.status import read_status
from bigcp3d.work.passes import passes
from bigcp3d.work.run.task_costs import TaskSpent
from bigcp3d.work.run.work_dir import WorkDir
from tests.schedule.conftest import Case, save_random_model, tissue_values, write_image


@pytest.fixture
def case(tmp_path) -> Case:
    write_image(tmp_path / "image.zarr", tissue_values((20, 40, 40)))
    save_random_model(tmp_path / "random.safetensors")
    return Case(str(tmp_path / "image.zarr"), str(tmp_path / "random.safetensors"), tmp_path, block=(20, 40, 20))


def ask(*words: object) -> str:
    done = CliRunner().invoke(app, ["status", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stdout


def files(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def stop_in_track(case: Case, monkeypatch, **more) -> None:
    """Leave a run in which one block failed."""

    def fail(run, time, index):
        if index == (0, 0, 1):
            raise OSError("the disk hiccuped")
        return track(run, time, index)

    track = passes.PASSES["track"]
    with monkeypatch.context() as patch:
        patch.setitem(passes.PASSES, "track", fail)
        with pytest.raises(BlockError):
            case.segment(**more)


def test_a_stopped_run_tells_its_counts_and_its_failures_and_is_not_touched(case, monkeypatch):
    stop_in_track(case, monkeypatch)
    before = files(case.folder)
    said = ask(case.work)
    assert "labels/cells: stopped; the same command continues it" in said
    assert "predict   2/2 blocks\n" in said
    assert "track     1/2 blocks\n" in said
    assert "label     0/2 blocks\n" in said
    assert "failed: track of block (0, 0, 1), time 0: OSError: the disk hiccuped" in said
    told = json.loads(ask(case.work, "--json"))
    assert told["state"] == "stopped"
    assert {p["name"]: (p["done"], p["total"]) for p in told["passes"]}["track"] == (1, 2)
    assert files(case.folder) == before


def test_a_run_of_many_tasks_is_counted_as_they_are_read(case, monkeypatch):
    stop_in_track(case, monkeypatch)
    found = read_status(case.work)
    # each takes half a second, on one of 4 workers; the first comes last
    tasks = (TaskSpent("track", 0, (0, 0, n), 10, 100 + n / 8, 0.5, f"a:{n % 4}") for n in range(49_999, -1, -1))
    tracemalloc.start()
    pace = paces(replace(found, done=tasks))["track"]
    assert tracemalloc.get_traced_memory()[1] < 500_000
    tracemalloc.stop()
    assert (pace.done, pace.workers, pace.done_vox) == (50_000, 4, 500_000)
    assert pace.voxels_per_second == pytest.approx(500_000 / (49_999 / 8 + 0.5))


def test_of_many_failures_some_are_named_and_all_counted(case, monkeypatch):
    stop_in_track(case, monkeypatch)
    monkeypatch.setattr(status, "MOST_FAILED", 3)
    for n in range(1, 6):
        block = {"pass": "predict", "index": (n, 0, 0), "error": "cold"}
        write_record(WorkDir(case.work).failures(0), "predict", (n, 0, 0), block)
    assert "and 3 more failed" in ask(case.work)
    told = json.loads(ask(case.work, "--json"))
    assert (len(told["failed"]), told["more_failed"]) == (3, 3)


def test_a_run_is_found_by_its_store_and_by_its_labels(case, monkeypatch):
    stop_in_track(case, monkeypatch, output="other.zarr", work_dir=None)
    store = case.folder / "other.zarr"
    assert ask(store) == ask(store / "labels" / "cells") == ask(case.folder / "other.bigcp3d" / "cells")


def test_a_living_run_tells_who_runs_it_and_how_fast(case, monkeypatch):
    seen, track = [], passes.PASSES["track"]

    def look(run, time, index):
        if index == (0, 0, 1):
            seen.extend([ask(case.work), json.loads(ask(case.work, "--json"))])
        return track(run, time, index)

    monkeypatch.setitem(passes.PASSES, "track", look)
    case.segment()
    said, told = seen
    assert "labels/cells: running: process " in said
    assert "voxel/s" in said
    assert told["state"] == "running"
    assert told["since"] > 0
    predict = next(p for p in told["passes"] if p["name"] == "predict")
    assert predict["voxels_per_second"] > 0
    assert predict["voxels_done"] <= predict["voxels"]


def test_a_run_that_is_dead_does_not_live(case, monkeypatch):
    stop_in_track(case, monkeypatch)
    with lock.hold_locks(lock.locks_of(case.plan())) as held:
        monkeypatch.setattr(lock, "_is_running", lambda holder: False)
        LockFile(case.work).replace(held.holder)
        assert "stopped" in ask(case.work)


def test_what_failed_and_was_done_since_is_not_told(case, monkeypatch):
    stop_in_track(case, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setitem(passes.PASSES, "resolve", lambda *_: 1 / 0)
        with pytest.raises(BlockError):
            case.segment()
    said = ask(case.work)
    assert "hiccuped" not in said
    assert "failed: resolve of block (0, 0, 0), time 0: ZeroDivisionError" in said


def test_where_there_is_no_run_the_message_says_what_is_needed(tmp_path):
    done = CliRunner().invoke(app, ["status", str(tmp_path)])
    assert done.exit_code == 2
    assert "give a work directory" in done.stderr
    zarr.create_group(tmp_path / "plate.zarr").attrs["ome"] = {"version": "0.5", "plate": {"wells": []}}
    done = CliRunner().invoke(app, ["status", str(tmp_path / "plate.zarr")])
    assert "this is a high-content screening plate" in done.stderr


def test_a_run_on_an_address_is_found_where_it_works(case, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    stop_in_track(case, monkeypatch, work_dir=tmp_path / "bucket-deep-image.bigcp3d" / "cells")
    for where in ("s3://bucket/deep/image.zarr", "s3://bucket/deep/image.zarr/labels/cells"):
        assert "stopped" in ask(where)
    other = CliRunner().invoke(app, ["status", "s3://bucket/other.zarr"])
    assert other.exit_code == 2
    assert "s3://bucket/other.zarr: there is no run and there are no finished labels here" in other.stderr


def test_a_finished_store_says_what_its_labels_are(case):
    case.segment()
    store = case.folder / "out.zarr"
    said = ask(store)
    assert re.match(
        rf"{store}/labels/cells: finished; [\d,]+ cells, model random, diameter as-is, made 20\d\d-\d\d-\d\d "
        r"\d\d:\d\d UTC by bigcp3d \d",
        said,
    )
    assert ask(store / "labels" / "cells") == said
    told = json.loads(ask(store, "--json"))
    assert (told["state"], told["model"], told["updates"]) == ("finished", "random", 0)
    with pytest.raises(TargetError, match=r"already: [\d,]+ cells, model random, .*Give --overwrite"):
        case.segment()


def test_an_update_that_was_stopped_is_told_with_both_ways_on(case, monkeypatch):
    case.segment()
    store = case.folder / "out.zarr"

    def stop(*_, **__):
        raise KeyboardInterrupt

    settings = {"output": store, "roi": "0:20,:,:", "executor": "serial"}
    with monkeypatch.context() as patch:
        patch.setattr(update, "replace_region", stop)
        with pytest.raises(KeyboardInterrupt):
            bigcp3d.update(case.store, **settings)
    said = ask(store)
    assert said.startswith("labels 'cells': an update was stopped; the same command continues it, and")
    bigcp3d.undo_update(case.store, output=store)
    assert "finished; " in ask(store)
