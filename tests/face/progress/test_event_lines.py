"""``--json``: every line is one JSON object, with the fields that are documented; a failed block is told once."""

import io
import json
import re

import pytest

import bigcp3d.face.progress.event_lines as event_lines
from bigcp3d.errors import InputError
from bigcp3d.face.progress.event_lines import EventLines
from bigcp3d.schedule.running.events import (
    BlockDone,
    BlockFailed,
    ClusterReady,
    Estimated,
    EstimateStarted,
    Noted,
    PassStarted,
    ReportWritten,
    RunFinished,
    Summary,
    TimeExpected,
    Warned,
)
from bigcp3d.work.plan.sections import Guess

SUMMARY = Summary("a.zarr/labels/cells", "cells", 3, {"too small": 1}, 5, 100, 0, 2, 2000, 4.0, {"predict": 3.0})


@pytest.fixture
def lines():
    """An observer whose clock is set by hand, and what it wrote."""
    now = [0.0]
    observer = EventLines(io.StringIO(), clock=lambda: now[0])
    return observer, now, lambda: [json.loads(line) for line in observer.stream.getvalue().splitlines()]


def documented() -> dict[str, set[str]]:
    """Fields of each event, from the table in the module's text."""
    table = re.sub(r"\([^()]*\)", "", event_lines.__doc__.split("=\n", 2)[2].replace("\n            ", " "))
    rows = (line.split(None, 1) for line in table.splitlines() if line and not line.startswith("="))
    return {name: {word.strip() for word in re.split(r"[:;]", rest)[0].split(",")} for name, rest in rows}


def test_what_is_written_is_what_is_documented(lines):
    observer, _, written = lines
    guess = Guess(
        question={}, model="nuclei", chosen="", diameter=8.1, low=6.9, high=9.3, cells=76, in_um=True, doubts=()
    )
    for event in (
        EstimateStarted("the diameter"),
        Estimated(guess),
        ClusterReady("http://127.0.0.1:8787/status", 2),
        TimeExpected(3600.0, {"predict": 7000.0}, 2.5, 2800),
        PassStarted("predict", 2, 2000),
        BlockDone("predict", (0, 0, 0), 1000, 2.0, 1, 2),
        BlockFailed("predict", 0, (0, 0, 1), "OSError: disk"),
        Noted("so"),
        Warned("look"),
        ReportWritten("a.cells.report.html"),
        RunFinished(SUMMARY),
    ):
        observer(event)
    observer.write_error(InputError("no"))
    table = documented()
    assert set(table) - {line["event"] for line in written()} == {"planned"}  # which a whole run writes, below
    for line in written():
        assert set(line) == {"event", "time"} | table[line["event"]], line


def test_progress_comes_once_a_second_and_when_all_is_done(lines):
    observer, now, written = lines
    observer(PassStarted("predict", 10, 10_000))
    for done in range(1, 11):
        now[0] += 0.4
        observer(BlockDone("predict", (0, 0, done), 1000, 0.4, done, 10))
    progress = [line for line in written() if line["event"] == "progress"]
    assert [line["blocks_done"] for line in progress] == [1, 4, 7, 10]
    assert progress[1]["voxels_per_second"] == pytest.approx(2500)
    assert progress[1]["seconds_left"] == pytest.approx(2.4)
    assert progress[-1]["seconds_left"] == 0


def test_progress_of_a_run_of_hours_comes_less_often(lines):
    observer, now, written = lines
    observer(PassStarted("predict", 10, 10_000))
    for done in range(1, 7):
        observer(BlockDone("predict", (0, 0, done), 1000, 0.4, done, 10))
        now[0] += 20_000 if done == 1 else 8
    progress = [line for line in written() if line["event"] == "progress"]
    assert [line["blocks_done"] for line in progress] == [1, 2, 5]


def test_a_run_tells_its_pipeline_from_plan_to_summary(lines, tissue_store, random_model, tmp_path):
    import bigcp3d

    observer, _, written = lines
    settings = {
        "model": random_model,
        "output": tmp_path / "o.zarr",
        "block": (17, 30, 51),
        "executor": "serial",
        "diameter_um": "as-is",
    }
    summary = bigcp3d.segment(tissue_store, on_event=observer, min_volume=2, **settings)
    told = written()
    assert set(told[0]) == {"event", "time"} | documented()["planned"]
    assert [line["event"] for line in (told[0], told[-1])] == ["planned", "finished"]
    assert told[0]["blocks"] == 4
    assert told[-1]["cells"] == summary.cells
    last = {line["pass"]: line for line in told if line["event"] == "progress"}
    passes = {line["pass"]: line for line in told if line["event"] == "pass"}
    assert set(last) == set(passes) >= {"predict", "track", "cluster", "resolve", "label"}
    for name, line in last.items():
        assert line["voxels_done"] == passes[name]["voxels"] == line["voxels"]
        assert line["blocks_done"] == passes[name]["blocks"]


def test_a_failed_block_is_told_once_and_blocks_that_wait_for_it_are_not(
    lines, tissue_store, random_model, tmp_path, monkeypatch
):
    import bigcp3d
    from bigcp3d.errors import BlockError
    from bigcp3d.work.passes import passes

    observer, _, written = lines

    def fail(run, time, index):
        raise OSError("disk")

    monkeypatch.setitem(passes.PASSES, "track", fail)
    settings = {
        "model": random_model,
        "output": tmp_path / "o.zarr",
        "block": (34, 60, 26),
        "executor": "serial",
        "diameter_um": "as-is",
    }
    with pytest.raises(BlockError):
        bigcp3d.segment(tissue_store, on_event=observer, **settings)
    failed = [line for line in written() if line["event"] == "failed"]
    assert {(line["pass"], tuple(line["block"])) for line in failed} == {("track", (0, 0, 0)), ("track", (0, 0, 1))}
    assert {line["error"] for line in failed} == {"OSError: disk"}
