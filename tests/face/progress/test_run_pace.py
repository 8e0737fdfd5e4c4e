"""The bar of the whole run: it only grows, ends at 1, and its time follows what was measured."""

import io
import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

import bigcp3d
from bigcp3d.face.progress import run_pace
from bigcp3d.face.progress.event_lines import EventLines
from bigcp3d.face.progress.pace import Pace
from bigcp3d.face.progress.progress import Watcher, watching
from bigcp3d.face.progress.run_pace import RunPace
from bigcp3d.schedule.running.events import (
    BlockDone,
    ClusterReady,
    PassStarted,
    RunFinished,
    RunPlanned,
    TimeExpected,
)
from bigcp3d.schedule.running.expected_time import expect_seconds


def block(done, name="predict", total=4, seconds=10.0, voxels=1000):
    return BlockDone(name, (0, 0, done), voxels, seconds, done, total)


def test_passes_weigh_by_their_seconds_and_what_is_measured_replaces_what_was_expected():
    run = RunPace({"predict": 90.0, "track": 10.0}, {})
    assert (run.advance(), run.seconds_left) == (0, 100)
    run.paces["predict"] = pace = Pace(4, 4000)
    pace.count(block(1, seconds=22.5), now=22.5)
    assert run.advance() == pytest.approx(0.225)
    assert run.seconds_left == pytest.approx(77.5)  # as expected
    pace.count(block(2, seconds=67.5), now=90.0)  # slower: 45 s a block
    assert run.seconds_left == pytest.approx(90 + 10)
    assert run.advance() == pytest.approx(90 / 190)


def test_the_share_never_goes_down_when_a_pass_turns_out_longer():
    run = RunPace({"predict": 50.0, "track": 50.0}, {"predict": Pace(4, 4000), "track": Pace(4, 4000)})
    for done in range(1, 5):
        run.paces["predict"].count(block(done, seconds=12.5), now=12.5 * done)
    assert run.advance() == pytest.approx(0.5)
    run.paces["track"].count(block(1, "track", seconds=1000.0), now=1050.0)
    assert sum(rest for _, rest in run._work().values()) > 2000  # the control: most of the work is still to be done
    assert run.advance() == pytest.approx(0.5)
    run.ended = True
    assert (run.advance(), run.seconds_left, run.describe()) == (1, 0, "100 %")


def test_workers_share_what_is_left_and_idle_ones_are_noticed():
    run = RunPace({"predict": 80.0}, {}, workers=4)
    assert run.seconds_left == pytest.approx(20)
    run.paces["predict"] = pace = Pace(16, 16_000, workers=4)
    for done in range(1, 9):  # two workers at a time, 10 s a block
        pace.count(block(done, total=16, seconds=10.0), now=10.0 * ((done + 1) // 2))
    assert run.seconds_left == pytest.approx(80 / 2)


def test_without_a_known_time_of_the_network_there_is_a_share_and_no_time_left():
    run = RunPace({"track": 10.0}, {"predict": Pace(4, 4000)})
    assert (run.advance(), run.seconds_left) == (0, None)
    run.paces["predict"].count(block(1, seconds=5.0), now=5.0)
    assert run.seconds_left == pytest.approx(15 + 10)
    assert 0 < run.advance() < 1


def test_blocks_of_an_earlier_run_count_as_done_and_not_as_quick():
    run = RunPace({"predict": 40.0}, {"predict": Pace(4, 4000)})
    run.paces["predict"].count(block(1, seconds=0.0), now=0.1)
    assert run.seconds_left == pytest.approx(30)


ALL_PASSES = pytest.param({"max_flow_error": 2.0, "diameter_um": 2.0}, marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=[{}, ALL_PASSES], ids=["plain", "all passes"])
def events(request, tissue_store, random_model, tmp_path_factory):
    """All events of a real run; all blocks of a pass take a second together, so that no test depends on real time."""
    seen, settings = [], {"model": random_model, "block": (17, 30, 26), "executor": "serial", "diameter_um": "as-is"}
    output = tmp_path_factory.mktemp("run") / "o.zarr"
    bigcp3d.segment(tissue_store, output=output, min_volume=2, on_event=seen.append, **{**settings, **request.param})
    return [replace(event, seconds=1 / event.total) if isinstance(event, BlockDone) else event for event in seen]


def test_over_a_real_run_the_share_grows_from_0_to_1(events, monkeypatch):
    monkeypatch.setattr(run_pace, "expect_from_plan", lambda plan: dict.fromkeys(expect_seconds(plan, 1.0), 1.0))
    text = io.StringIO()
    watcher, shares = Watcher(Console(file=text, width=200), clock=itertools.count(0.0).__next__), list[float]()
    for event in events:
        watcher(event)
        shares.append(watcher.run.advance())
        if isinstance(event, PassStarted | BlockDone):
            assert event.name in watcher.run.expected, "the plan knows each pass that runs"
    assert shares[0] == 0
    assert all(a <= b for a, b in itertools.pairwise(shares))
    assert shares[-1] == 1
    assert sum(0.05 < share < 0.95 for share in shares) > 5
    assert "; all passes " in text.getvalue()


def test_json_tells_share_and_time_left_of_the_run(events):
    import json

    lines = EventLines(io.StringIO(), clock=iter(itertools.count(0, 2.0)).__next__)
    for event in events:
        lines(event)
    told = [json.loads(line) for line in lines.stream.getvalue().splitlines()]
    shares = [line["run_fraction"] for line in told if line["event"] == "progress"]
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] <= 1
    assert all(line["run_seconds_left"] >= 0 for line in told if line["event"] == "progress")
    assert told[0]["seconds"] > 0
    assert (told[0]["executor"], told[0]["workers"]) == ("serial", 1)


def test_the_bar_of_the_run_stands_above_those_of_the_passes(events):
    text = io.StringIO()
    with watching(console=Console(file=text, force_terminal=True, width=120)) as observer:
        for event in events:
            observer(event)
    drawn = text.getvalue().rpartition("all  ")[2]
    assert "100 %" in drawn.partition("predict")[0]
    assert drawn.index("predict") < drawn.index("track") < drawn.index("label")


def test_the_bars_of_a_run_take_the_place_of_those_of_the_run_before(events):
    """A sweep predicts once for each diameter, and a terminal shows the upper bars only, if there are too many."""
    with watching(console=Console(file=io.StringIO(), force_terminal=True)) as watcher:
        for event in (*events, *events):
            watcher(event)
        shown = [bar.description for bar in watcher.bars.tasks]
    assert len(shown) == len(set(shown)) > 3


def test_a_measured_patch_is_told_and_changes_the_time_left(events):
    text = io.StringIO()
    watcher = Watcher(Console(file=text, width=200))
    watcher(next(event for event in events if isinstance(event, RunPlanned)))
    watcher(ClusterReady("", 2))
    watcher(TimeExpected(7200.0, {"predict": 14000.0, "track": 400.0}, 2.5, 5600))
    assert watcher.run.seconds_left == pytest.approx(7200)
    assert "the run will take about 2:00:00: a patch takes 2.5 s, and there are 5,600" in text.getvalue()
    watcher(RunFinished(None))
    assert watcher.run.advance() == 1


def test_a_new_plan_begins_anew(monkeypatch):
    monkeypatch.setattr(run_pace, "expect_from_plan", lambda plan: {"predict": 10.0})
    plan: Any = SimpleNamespace(running=SimpleNamespace(workers=2))
    run = RunPace()
    for _ in range(2):
        run.see(RunPlanned(plan), 0.0)
        assert (run.advance(), run.workers, run.paces) == (0.0, 2, {})
        run.see(PassStarted("predict", 1, 1000), 0.0)
        run.see(block(1, seconds=5.0), 5.0)
        run.see(RunFinished(None), 5.0)  # type: ignore[arg-type]
        assert run.advance() == 1.0
