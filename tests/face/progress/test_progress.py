"""Progress: speed and time left come from measured blocks alone."""

import importlib.machinery
import io
import re
import sys
import types

import pytest
from rich.console import Console

from bigcp3d.face.progress.pace import Pace, format_count, format_time
from bigcp3d.face.progress.progress import Watcher, watching
from bigcp3d.schedule.running.events import BlockDone, BlockFailed, BlockGoesOn, ClusterReady, PassStarted, Warned


class Clock:
    """Seconds set by hand."""

    now = 0.0

    def __call__(self):
        return self.now


def block(done, total=10, seconds=2.0, voxels=1000, name="predict"):
    return BlockDone(name, (0, 0, done), voxels, seconds, done, total)


def test_speed_is_voxels_over_wall_time_since_the_first_measured_block_began():
    pace = Pace(total=10)
    pace.count(block(1), now=102.0)  # began at 100, though the pass may have been announced at 0
    pace.count(block(2), now=104.0)
    assert pace.voxels_per_second == pytest.approx(2000 / 4)
    assert pace.seconds_left == pytest.approx(8 * 2)


def test_ragged_blocks_weigh_by_their_voxels():
    pace = Pace(total=4, total_vox=1000 + 3 * 100)
    pace.count(block(1, total=4, voxels=1000, seconds=10.0), now=10.0)
    assert pace.seconds_left == pytest.approx(300 / 100)  # by blocks it would be 30
    assert pace.fraction == pytest.approx(1000 / 1300)
    for done in (2, 3, 4):
        pace.count(block(done, total=4, voxels=100, seconds=1.0), now=9.0 + done)
    assert (pace.seconds_left, pace.fraction) == (0, 1)
    assert pace.voxels_per_second == pytest.approx(1300 / 13)


def test_time_left_waits_until_each_worker_has_finished_a_block():
    pace = Pace(total=100, total_vox=100_000, workers=4)
    for done in (1, 2, 3):
        pace.count(block(done, total=100, seconds=10.0), now=10.0 + done / 100)
        assert pace.seconds_left is None  # 4 are under way, and the clock has run for all
    pace.count(block(4, total=100, seconds=10.0), now=10.04)
    assert pace.seconds_left == pytest.approx(96_000 / (4000 / 10.03), rel=0.01)
    few = Pace(total=4, total_vox=4000, workers=32)  # fewer blocks than workers: the first one tells
    few.count(block(1, total=4), now=2.0)
    assert few.seconds_left == pytest.approx(6)


def test_voxels_of_an_earlier_run_are_done_but_not_fast():
    pace = Pace(total=3, total_vox=3000)
    pace.count(block(1, total=3, seconds=0.0), now=0.1)
    pace.count(block(2, total=3), now=2.1)
    assert pace.voxels_per_second == pytest.approx(500)
    assert pace.seconds_left == pytest.approx(2)
    assert pace.fraction == pytest.approx(2 / 3)


def test_two_workers_halve_the_time_left():
    one, two = Pace(total=10), Pace(total=10)
    for done in (1, 2):
        one.count(block(done), now=100 + 2.0 * done)
        two.count(block(done), now=102)
    assert two.seconds_left == pytest.approx(one.seconds_left / 2)


def test_blocks_of_an_earlier_run_move_the_bar_and_not_the_speed():
    pace = Pace(total=10)
    for done in range(1, 6):
        pace.count(block(done, seconds=0.0), now=1.0)
    assert (pace.done, pace.voxels_per_second, pace.seconds_left) == (5, None, None)
    pace.count(block(6), now=3.0)
    assert pace.voxels_per_second == pytest.approx(500)
    assert pace.seconds_left == pytest.approx(4 * 2)


def test_a_finished_pass_has_no_time_left():
    pace = Pace(total=1)
    pace.count(block(1, total=1), now=2.0)
    assert pace.seconds_left == 0
    assert "left" not in pace.describe()


def test_without_a_terminal_lines_come_every_few_seconds_and_at_the_end():
    clock, text = Clock(), io.StringIO()
    watcher = Watcher(Console(file=text, width=200), clock=clock)
    watcher(ClusterReady("http://127.0.0.1:8787/status", 2))
    watcher(PassStarted("predict", 10))
    for done in range(1, 11):
        clock.now += 2.0
        watcher(block(done))
    watcher(Warned("3 voxels were NaN [sic]"))
    assert text.getvalue().splitlines() == [
        "Dask cluster with 2 workers; dashboard: http://127.0.0.1:8787/status",
        "predict 1/10 blocks, 500 voxel/s",
        "predict 4/10 blocks, 500 voxel/s, 0:12 left",
        "predict 7/10 blocks, 500 voxel/s, 0:06 left",
        "predict 10/10 blocks, 500 voxel/s",
        "warning: 3 voxels were NaN [sic]",
    ]


def test_on_a_terminal_each_pass_has_a_bar():
    text = io.StringIO()
    with watching(console=Console(file=text, force_terminal=True, width=120)) as observer:
        observer(PassStarted("predict", 2))
        observer(PassStarted("track", 2))
        observer(block(2, total=2))
        observer(block(1, total=2, name="track"))
        observer(Warned("look"))
        observer(BlockFailed("track", 0, (0, 0, 1), "OSError: disk"))
    last = text.getvalue().replace("\x1b", "")
    assert "predict" in last
    assert "2/2 blocks" in last
    assert "1/2 blocks" in last
    assert "warning: look" in last
    assert "FAILED: track of block (0, 0, 1), time 0: OSError: disk" in last


def test_the_dashboard_is_a_link_where_the_terminal_knows_links():
    address, text = "http://127.0.0.1:8787/status", io.StringIO()
    Watcher(Console(file=text, force_terminal=True, width=200))(ClusterReady(address, 2))
    assert re.search(rf"\x1b]8;id=\d+;{address}\x1b\\.*{address}", text.getvalue())  # OSC 8
    plain = io.StringIO()
    Watcher(Console(file=plain, width=200))(ClusterReady(address, 2))
    assert "\x1b" not in plain.getvalue()


@pytest.fixture
def notebook(monkeypatch):
    """A stand-in for IPython and ipywidgets: what is displayed, in order, and what the widget holds."""
    shown: list[str] = []

    class Output:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def clear_output(self, wait=False):
            shown.append("cleared")

    def display(*parts, **_):
        shown.extend(
            part if isinstance(part, Output) else part._repr_mimebundle_([], [])["text/plain"] for part in parts
        )

    for name, content in (
        ("IPython", {}),
        ("IPython.display", {"display": display}),
        ("ipywidgets", {"Output": Output}),
    ):
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return shown


def test_a_notebook_shows_the_same_bars(notebook):
    with watching(console=Console(force_jupyter=True, width=120)) as observer:
        observer(PassStarted("predict", 2, 2000))
        observer(block(1, total=2))
        observer(block(2, total=2))
    last = [text for text in notebook if isinstance(text, str) and "predict" in text][-1]
    assert "2/2 blocks" in last
    assert "voxel/s" in last
    assert "cleared" in notebook  # drawn again in its place


def test_a_notebook_without_widgets_gets_lines(notebook, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with watching(console=Console(force_jupyter=True, width=120)) as observer:
        observer(block(1, total=2))
    assert notebook == ["predict 1/2 blocks, 500 voxel/s, 0:02 left\n"]


def test_quiet_watches_nothing():
    with watching(quiet=True) as observer:
        assert observer is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 voxel"), (999, "999 voxel"), (1234, "1.23 kvoxel"), (999_900, "1 Mvoxel"), (2.5e12, "2.5 Tvoxel")],
)
def test_counts_have_three_digits(value, text):
    assert format_count(value, "voxel") == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0:00"), (42.4, "0:42"), (3599.6, "1:00:00"), (2 * 86400 + 61, "2 d 0:01:01")]
)
def test_durations_read_like_a_clock(seconds, text):
    assert format_time(seconds) == text


def test_a_pass_of_one_block_moves_while_the_block_is_worked_on():
    console, clock = Console(file=io.StringIO()), Clock()
    watcher = Watcher(console, clock=clock)
    watcher(PassStarted("predict", 1, 1000))
    shares = []
    for clock.now, share in ((0, 0.0), (3, 0.25), (6, 0.75)):
        watcher(BlockGoesOn("predict", 1000, share))
        shares.append(watcher.run.paces["predict"].fraction)
    assert shares == [0, 0.25, 0.75]
    assert console.file.getvalue() == "predict 0/1 block\n", "a line every five seconds, none at once"
    watcher(block(1, total=1))
    assert watcher.run.paces["predict"].fraction == 1
    assert watcher.run.paces["predict"].done_vox == 1000, "what was done of the block does not count twice"
