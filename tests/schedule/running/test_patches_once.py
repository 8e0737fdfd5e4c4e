"""Every patch of the network is computed once, whatever the blocks; what is handed over goes, and can be lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

import bigcp3d
from bigcp3d.edge.workdir.records import read_record, read_records
from bigcp3d.errors import BlockError, TargetError
from bigcp3d.pure.predict import run_network as pure_predict
from bigcp3d.work.passes import passes
from bigcp3d.work.run.work_dir import WorkDir
from tests.schedule.conftest import SHAPE, Case

BLOCKS = [(13, 31, 23), (200, 300, 400)]
MORE_BLOCKS = [pytest.param(b, marks=pytest.mark.slow) for b in ((5, 40, 48), (17, 30, 26), (9, 14, 60), (34, 9, 60))]
CUT = {"block": (17, 30, 26), "executor": "serial", "diameter_um": "as-is", "min_volume": 2}
PATCHES = 2 * 3 * 3


@pytest.fixture
def calls(monkeypatch) -> list[torch.Tensor]:
    """The patches that went through the network."""
    seen, run_network = [], pure_predict.run_network
    monkeypatch.setattr(
        pure_predict, "run_network", lambda network, patches: seen.extend(patches) or run_network(network, patches)
    )
    return seen


def segment_kept(store, model, folder: Path, **settings):
    """Segment, keep the work directory's maps; the plan and the maps."""
    settings = {**CUT, **settings, "model": model, "output": folder / "out.zarr", "work_dir": folder / "work"}
    plan = bigcp3d.plan_segmentation(store, keep_maps=True, **settings)
    bigcp3d.segment(store, keep_maps=True, **settings)
    return plan, zarr.open_array(folder / "work" / "t0" / "maps", mode="r")[...]


@pytest.fixture(scope="module")
def whole_maps(tissue_store, random_model, tmp_path_factory):
    """Maps of one block that holds the volume."""
    return segment_kept(tissue_store, random_model, tmp_path_factory.mktemp("whole"), block=SHAPE)[1]


@pytest.mark.parametrize("block", [*BLOCKS, *MORE_BLOCKS], ids=str)
def test_every_patch_is_computed_once_and_maps_are_those_of_the_volume(
    whole_maps, tissue_store, random_model, tmp_path, calls, block
):
    plan, maps = segment_kept(tissue_store, random_model, tmp_path, block=block)
    assert len(calls) == len(plan.patches.cores) == PATCHES
    records = WorkDir(tmp_path / "work").records(0)
    counts = [found["patches"] for _, found, _ in read_records(records, "predict")]
    assert len(counts) == len(plan.patch_blocks.grid)
    assert sum(counts) == PATCHES
    assert bool(list(read_records(records, "merge"))) == (len(counts) > 1), "one block merges nothing"
    assert np.array_equal(maps, whole_maps)


def test_control_blocks_that_compute_all_that_touches_them_compute_more(tissue_store, random_model):
    plan = bigcp3d.plan_segmentation(tissue_store, model=random_model, **CUT)
    touching = [plan.patches.cores.touching(plan.grid.core(index).grow(plan.prediction.margin)) for index in plan.grid]
    assert sum(map(len, touching)) > 1.5 * PATCHES


def interrupted(tissue_store, random_model, folder: Path, monkeypatch, name: str, fails) -> Path:
    """A run in which a pass fails on the blocks for which ``fails`` holds; the folder of its time point."""
    function = passes.PASSES[name]
    with monkeypatch.context() as patch:
        patch.setitem(passes.PASSES, name, lambda run, time, i: 1 / 0 if fails(i) else function(run, time, i))
        with pytest.raises(BlockError):
            segment_kept(tissue_store, random_model, folder)
    return WorkDir(folder / "work").folder(0)


def test_what_is_handed_over_goes_when_it_is_merged(tissue_store, random_model, tmp_path, monkeypatch, calls):
    folder = interrupted(tissue_store, random_model, tmp_path, monkeypatch, "merge", lambda index: index == (1, 1, 0))
    assert [path.name for path in (folder / "parts").iterdir()] == ["1.1.0"]
    assert len(list((folder / "parts" / "1.1.0").iterdir())) == 8
    segment_kept(tissue_store, random_model, tmp_path)
    assert len(calls) == PATCHES
    assert not (folder / "parts").exists()


def test_a_part_that_is_gone_or_torn_is_computed_again(
    whole_maps, tissue_store, random_model, tmp_path, monkeypatch, calls
):
    folder = interrupted(tissue_store, random_model, tmp_path, monkeypatch, "merge", lambda index: index == (0, 1, 1))
    gone, torn = (folder / "parts" / "0.1.1" / f"{block}.table" for block in ("0.0.1", "0.1.0"))
    patches = [read_record(folder / "records", "predict", index)["patches"] for index in ((0, 0, 1), (0, 1, 0))]
    gone.unlink()
    torn.write_bytes(torn.read_bytes()[:-1000])
    _, maps = segment_kept(tissue_store, random_model, tmp_path)
    assert len(calls) == PATCHES + sum(patches)
    assert np.array_equal(maps, whole_maps)


def test_a_damaged_record_of_a_merge_is_no_dead_end(whole_maps, tissue_store, random_model, tmp_path, monkeypatch):
    folder = interrupted(tissue_store, random_model, tmp_path, monkeypatch, "track", lambda index: True)
    (folder / "records" / "merge" / "1.0.1.json").write_text("{}")
    assert np.array_equal(segment_kept(tissue_store, random_model, tmp_path)[1], whole_maps)


def test_the_precision_is_part_of_the_plan_and_a_run_is_not_carried_on_in_another(
    tissue_store, random_model, tmp_path, monkeypatch
):
    folder = interrupted(tissue_store, random_model, tmp_path, monkeypatch, "track", lambda index: True)
    auto = bigcp3d.plan_segmentation(tissue_store, model=random_model, **CUT).prediction.precision
    assert auto == pure_predict.fast_precision("cpu")
    other = {"float32": "bfloat16", "bfloat16": "float32"}[auto]
    with pytest.raises(TargetError, match=f"precision not given then, {other} now"):
        segment_kept(tissue_store, random_model, tmp_path, precision=other)
    assert segment_kept(tissue_store, random_model, tmp_path, precision=auto)[1].any()
    assert folder.exists()


def test_labels_in_another_precision_do_not_depend_on_the_block(tissue_store, random_model, tmp_path):
    """All other tests show it for the precision that this processor takes."""
    case = Case(tissue_store, random_model, tmp_path)
    other = {"float32": "bfloat16", "bfloat16": "float32"}[pure_predict.fast_precision("cpu")]
    labels = case.segment(precision=other)
    assert np.array_equal(labels, case.segment("one.zarr", precision=other, block=SHAPE))
    assert not np.array_equal(labels, case.whole())  # control: the option reaches the network
