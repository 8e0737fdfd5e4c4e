"""The page of a run: the map says where blocks are, speeds add up, and it is served on loopback alone."""

import io
import logging
import socket
import urllib.request

import numpy as np
import pytest
from PIL import Image

import bigcp3d
from bigcp3d.face.dashboard import server, state
from bigcp3d.face.dashboard.page import PALETTE
from bigcp3d.face.dashboard.server import PageServer
from bigcp3d.face.dashboard.state import FAILED, MAPPED, RunState, Speeds, lay_out
from bigcp3d.schedule.running.events import BlockDone, BlockFailed, ClusterReady, PageServed, PassStarted, RunPlanned


@pytest.fixture
def plan(tissue_store, random_model, tmp_path):
    """A plan whose passes have blocks of different sizes."""
    settings = {"model": random_model, "output": tmp_path / "o.zarr", "diameter_um": 4.0, "executor": "serial"}
    return bigcp3d.plan_segmentation(tissue_store, block=(20, 13, 17), **settings)


def done(name, index, count=1, total=1, seconds=1.0, voxels=1000, **more):
    return BlockDone(name, index, voxels, seconds, count, total, **more)


def test_a_cell_of_the_map_shows_the_latest_pass_that_has_done_its_centre(plan):
    run, rng, voxels = RunState(), np.random.default_rng(0), np.zeros(plan.shape, np.uint8)
    run(RunPlanned(plan))
    label_at = [
        np.floor((np.arange(s) + 0.5) * f).astype(int)
        for s, f in zip(plan.shape, plan.output.label_factors, strict=True)
    ]
    for name, grid in (("predict", plan.patch_blocks.grid), ("track", plan.grid), ("label", plan.label_grid(0))):
        for index in grid:
            if rng.random() < 0.6:
                run(done(name, index))
                core = grid.core(index)
                at = label_at if name == "label" else [np.arange(s) for s in plan.shape]
                inside = [(a >= lo) & (a < hi) for a, lo, hi in zip(at, core.start, core.stop, strict=True)]
                voxels[np.ix_(*inside)] = MAPPED.index(name) + 1
    cells = run.cells()
    assert cells.shape == plan.grid.counts
    assert len(np.unique(cells)) > 2
    for index in plan.grid:
        core = plan.grid.core(index)
        centre = tuple((a + b) // 2 for a, b in zip(core.start, core.stop, strict=True))
        assert cells[index] == voxels[centre], (index, centre)
    failed = tuple(int(i) for i in np.argwhere(cells == MAPPED.index("track") + 1)[0])
    run(BlockFailed("track", 0, failed, "OSError: disk"))
    assert run.cells()[failed] == FAILED
    assert run.failures == [f"track of block {failed}, time 0: OSError: disk"]


def test_speeds_keep_every_voxel_however_long_the_run():
    speeds, total = Speeds(), 0
    for k in range(700):
        speeds.add("track", k * 3.7, k * 3.7 + 5, 1000 + k)
        total += 1000 + k
    assert speeds.voxels["track"].sum() == pytest.approx(total)
    seconds, series = speeds.series(700 * 3.7 + 5)
    assert len(seconds) <= state.BINS
    assert np.median(series["track"]) == pytest.approx(1350 / 3.7, rel=0.1)


@pytest.mark.parametrize("shape", [(1, 4, 5), (7, 3, 3), (64, 9, 2)])
def test_every_layer_is_shown_once(shape):
    cells = np.arange(np.prod(shape)).reshape(shape)
    picture, places = lay_out(cells)
    assert np.array_equal(np.sort(picture[~np.isnan(picture)]), np.sort(cells.ravel()))
    for number, row, column in places:
        assert np.array_equal(picture[row : row + shape[1], column : column + shape[2]], cells[number])


def test_a_map_of_very_many_blocks_stays_small():
    picture, places = lay_out(np.zeros((300, 1500, 1500), np.uint8))
    assert picture.size < 1.3 * state.MOST_CELLS
    assert len(places) <= state.MOST_LAYERS


def feed(page, plan):
    """Half a run."""
    grid = plan.grid
    page(RunPlanned(plan))
    page(ClusterReady("http://127.0.0.1:1/status", 2))
    page(PassStarted("track", len(grid), grid.core((0, 0, 0)).size * len(grid)))
    for number, index in enumerate(list(grid)[: len(grid) // 2]):
        page(done("track", index, number + 1, len(grid), worker="a:1", gpu_peak_bytes=2**30))
    page(BlockFailed("track", 0, list(grid)[-1], "OSError: <disk>"))


def test_the_page_is_served_on_loopback_while_the_context_lasts(plan):
    told = []
    with PageServer(then=told.append) as page:
        feed(page, plan)
        assert told == [PageServed(page.address)]
        assert page.address.startswith("http://127.0.0.1:")
        assert b"bigcp3d" in urllib.request.urlopen(page.address).read()
        with socket.socket() as other:  # nobody listens on other addresses of this machine
            other.settimeout(2)
            assert other.connect_ex(("127.0.0.2", int(page.address.split(":")[2].strip("/")))) != 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(page.address)


def test_a_page_that_cannot_be_served_harms_no_run(plan, monkeypatch, caplog):
    def fail():
        raise OSError("no port is free")

    monkeypatch.setattr(server, "free_port", fail)
    with caplog.at_level(logging.WARNING, "bigcp3d"), PageServer() as page:
        feed(page, plan)
    assert "no port is free" in caplog.text


def test_a_browser_shows_blocks_in_the_colours_of_their_passes(plan, chromium):
    n, half = len(plan.grid), len(plan.grid) // 2
    with PageServer() as served:
        feed(served, plan)
        page = chromium.new_page(viewport={"width": 1150, "height": 1100})
        asked, said = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message) if message.type in ("error", "warning") else None)
        page.goto(served.address)
        page.wait_for_selector(".bk-Figure >> nth=2", state="attached")
        page.wait_for_timeout(1500)
        pixels = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        words = [page.get_by_text(text).count() for text in (f"{half}/{n} blocks", "OSError: <disk>")]
        page.close()
    counts = {c: int(np.all(pixels == [int(c[i : i + 2], 16) for i in (1, 3, 5)], axis=-1).sum()) for c in PALETTE}
    drawn = {name: counts[colour] for name, colour in zip(("waiting", *MAPPED, "failed"), PALETTE, strict=True)}
    legend = drawn["check"]  # no block is checked, so what has this colour is its place in the legend
    assert drawn["failed"] > 0.5 * (drawn["waiting"] - legend) / (n - half) > 0
    assert drawn["track"] > 5 * drawn["failed"] > 5 * legend > 0
    assert words == [1, 1]
    assert {url.split("/")[2].split(":")[0] for url in asked if "://" in url} == {"127.0.0.1"}
    texts = [message.text for message in said]
    assert [text for text in texts if "could not set initial ranges" not in text] == []  # bokeh, of a plot without data
