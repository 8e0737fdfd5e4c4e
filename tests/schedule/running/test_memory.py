"""Out of core: what a worker holds stays under the plan's figure, and does not grow with the volume.

The volumes here are given maps: a small tile of cells, repeated. The peak is the kernel's own figure (VmHWM) of the
worker process, which starts anew with each task and is in the task's record.
"""

from __future__ import annotations

import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from distributed import Client, LocalCluster

import bigcp3d
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.pure.boxes import BlockGrid
from bigcp3d.pure.predict import run_network as predict
from bigcp3d.pure.predict.patch_sums import PatchSums
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.schedule.running.start import prepare
from bigcp3d.schedule.running.tasks import in_order, object_passes
from bigcp3d.work.passes.passes import perform
from bigcp3d.work.plan.memory_and_disk import task_bytes, worker_bytes
from bigcp3d.work.run.run import Run
from bigcp3d.work.simulate import simulate
from tests.schedule.conftest import write_image
from tests.task_rows import TaskRows

RADIUS = 6.0


def tile_of_cells(side: int) -> np.ndarray:
    """Maps of balls on a lattice of 16 voxels, int8 (4, side, side, side)."""
    at = np.indices((side, side, side)) % 16 - 7.5
    maps = np.empty((4, side, side, side), np.int8)
    maps[0] = np.where((at**2).sum(axis=0) < 49, 127, 0)
    maps[1:] = np.rint(-127 * np.tanh(at / 3))
    return maps


def write_volume(folder: Path, counts: tuple[int, int, int], side: int) -> tuple[Path, Path]:
    """An image and maps of ``counts`` tiles; returns their paths."""
    shape = tuple(n * side for n in counts)
    image = create_image(folder / "image.zarr", shape, "uint16", scale_um=(1, 1, 1), chunk=(64,) * 3, shard=(side,) * 3)
    maps = zarr.create_array(
        folder / "maps", shape=(4, *shape), dtype="int8", chunks=(4, 64, 64, 64), shards=(4, side, side, side)
    )
    tile = tile_of_cells(side)
    light = (tile[0].astype(np.uint16) * 3 + 5).astype(np.uint16)
    grid = BlockGrid(shape, (side,) * 3)
    for index in grid:
        core = grid.core(index)
        write_image_box(image, core, light)
        maps[(slice(None), *core.slices())] = tile
    return folder / "image.zarr", folder / "maps"


def peak_bytes() -> int:
    """Largest resident size of this process since its last task began."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def run(folder: Path, counts, model: str, *, side, workers=1, memory_limit="2GiB"):
    """Segment from maps on fresh workers, a tile a block; the plan, the summary and the highest peak."""
    image, maps = write_volume(folder, counts, side)
    return measure(
        image, workers, memory_limit, maps=maps, model=model, radius_vox=RADIUS, block=(side,) * 3, min_volume=10
    )


def measure(image: Path, workers: int, memory_limit: str, **settings):
    """Plan and run on fresh workers; the plan, the summary and the highest peak of a worker."""
    plan = bigcp3d.plan_segmentation(image, memory_limit=memory_limit, workers=workers, **settings)
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, memory_limit=memory_limit, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        rows = TaskRows()
        summary = bigcp3d.segment(image, scheduler=cluster.scheduler_address, on_event=rows.look, **settings)
        peaks = client.run(peak_bytes)
    return plan, summary, max(*peaks.values(), *(task.peak_bytes for task in rows))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from Linux's /proc")
def test_memory_stays_under_the_plan_and_does_not_grow_with_blocks(tmp_path, random_model):
    small = run(tmp_path / "8", (2, 2, 2), random_model, side=64)
    large = run(tmp_path / "64", (4, 4, 4), random_model, side=64)
    for (plan, summary, peak), blocks in ((small, 8), (large, 64)):
        assert summary.blocks == blocks
        assert summary.cells == summary.voxels // 16**3
        assert peak <= worker_bytes(plan)
    assert large[2] < 1.1 * small[2]


def test_the_plan_would_notice_a_pass_that_holds_the_volume(tmp_path, random_model):
    """The control: the whole volume of 64 blocks at once is above the figure for one block."""
    image, maps = write_volume(tmp_path, (2, 2, 2), side=64)
    settings = {"maps": maps, "model": random_model, "radius_vox": RADIUS}
    one = task_bytes(bigcp3d.plan_segmentation(image, block=(32, 32, 32), **settings))
    whole = task_bytes(bigcp3d.plan_segmentation(image, block=(128, 128, 128), **settings))
    assert all(whole[name] > 4 * one[name] for name in ("track", "cluster"))


@pytest.fixture
def sums_are_seen(monkeypatch):
    """tracemalloc sees no tensors; so sums, and the maps that they give, are arrays."""
    make, maps = PatchSums.__init__, PatchSums.maps

    def make_seen(sums, *of):
        make(sums, *of)
        sums.total = torch.from_numpy(np.zeros(sums.total.shape, np.int32))

    monkeypatch.setattr(PatchSums, "__init__", make_seen)
    monkeypatch.setattr(PatchSums, "maps", lambda sums, box: maps(sums, box).copy())


@pytest.fixture
def sums_on_a_device(monkeypatch):
    """Sums are not seen, as if they lay on a GPU; what is copied to the host is seen."""
    for name in ("sums", "maps"):
        function = getattr(PatchSums, name)
        monkeypatch.setattr(PatchSums, name, lambda sums, box, function=function: function(sums, box).copy())
    monkeypatch.setattr(predict, "sum_patches", partial(predict.sum_patches, ahead=True))


@pytest.mark.parametrize(
    "where", ["beside a gpu", *(pytest.param(w, marks=pytest.mark.slow) for w in ("cpu", "cpu, two channels"))]
)
def test_arrays_of_predict_and_merge_stay_under_the_plan(
    tmp_path, random_model, two_channel_model, monkeypatch, request, where
):
    """Blocks of 3 x 3 x 3 patches of noise, which nothing compresses; activations are not seen and do not count."""
    request.getfixturevalue("sums_on_a_device" if where == "beside a gpu" else "sums_are_seen")
    write_image(tmp_path / "image.zarr", np.random.default_rng(0).integers(0, 999, (60, 120, 120), np.uint16))
    settings = {
        "model": random_model,
        "block": (60, 60, 60),
        "workers": 1,
        "diameter_um": "as-is",
        "work_dir": tmp_path / "work",
    }
    if "two" in where:  # the same one twice
        settings |= {"model": two_channel_model, "channel": (0, 0)}
    plan = bigcp3d.plan_segmentation(tmp_path / "image.zarr", output=tmp_path / "out.zarr", **settings)
    assert plan.patch_blocks.per_block == (3, 3, 3)
    run, rng = Run(plan), np.random.default_rng(1)
    said = torch.from_numpy(rng.uniform(-1, 1, (4, *plan.prediction.patch)).astype(np.float32))
    monkeypatch.setattr(predict, "run_network", lambda network, patches: said[None])
    prepare(plan, resumed=False, overwrite=False)
    peaks = {}
    for task in in_order(object_passes(plan)):
        name, time, index = task.key
        if name not in ("normalise", "predict", "merge"):
            continue
        tracemalloc.start()
        perform(run, name, time, index)
        peaks[name] = max(peaks.get(name, 0), tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    limits = task_bytes(plan)
    card = plan.prediction.card
    limits["predict"] -= card.patch_bytes(plan.prediction.patch, card.channels)
    least = {"predict": 0.1 if where == "beside a gpu" else 0.25, "merge": 0.25}  # beside a GPU there are no sums
    for name, share in least.items():
        assert share * limits[name] < peaks[name] <= limits[name]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_volume_of_twice_the_memory_limit_runs_to_the_end(tmp_path, random_model):
    plan, summary, peak = run(tmp_path, (6, 8, 8), random_model, side=128, workers=2, memory_limit="1100MiB")
    print(summary, peak)
    assert 4 * summary.voxels >= 2 * 1100 * 2**20, "the maps alone are twice what a worker may hold"
    assert summary.cells == summary.voxels // 16**3
    assert peak <= worker_bytes(plan) <= 1100 * 2**20


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shape", [(96, 128, 128), (96, 128, 256)], ids=str)
def test_memory_with_the_network_stays_under_the_plan(tmp_path, shape):
    simulate(tmp_path / "image.zarr", Tissue(shape=shape, diameter_vox=14.0, stain="nuclei", seed=1))
    plan, summary, peak = measure(tmp_path / "image.zarr", 2, "1100MiB", model="nuclei", block=(48, 64, 64))
    print(shape, summary, peak / 2**20, worker_bytes(plan) / 2**20)
    assert summary.cells > 50
    assert 0.4 * worker_bytes(plan) < peak <= worker_bytes(plan)
