"""Intermediates go as soon as nobody reads them, and never before, however a run is stopped and carried on."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr

import bigcp3d
from bigcp3d.errors import BlockError, TargetError
from bigcp3d.pure.boxes import Box, vec3
from bigcp3d.schedule import segment as segment_module
from bigcp3d.schedule.events import BlockDone
from bigcp3d.schedule.start import prepare
from bigcp3d.schedule.tasks import label_tasks, object_tasks
from bigcp3d.work import passes, removal
from bigcp3d.work.inputs import Inputs
from bigcp3d.work.run import Run

from .conftest import read_labels, tissue_values, write_image

KINDS = ("maps", "offsets", "sinks", "components")
CUT = {"block": (17, 30, 26), "min_volume": 2, "executor": "serial"}
LONG, LONG_BLOCK = (24, 24, 288), (24, 24, 24)
ERROR = {"max_flow_error": 2.0}


def left(work: Path) -> Counter[str]:
    """Files of each kind, over all time points."""
    return Counter(
        {kind: sum(p.is_file() and p.name != "zarr.json" for p in work.glob(f"t*/{kind}/**/*")) for kind in KINDS}
    )


@pytest.fixture(scope="module")
def movie_store(tmp_path_factory) -> str:
    """Two time points of a small tissue."""
    path, values = tmp_path_factory.mktemp("movie") / "movie.zarr", tissue_values((20, 40, 40))
    group = zarr.create_group(path, zarr_format=2)
    array = group.create_array("0", shape=(2, 1, *values.shape), dtype="uint16", chunks=(1, 1, 20, 20, 20))
    array[0, 0], array[1, 0] = values, values[:, ::-1]
    group.attrs["multiscales"] = [{"version": "0.1", "datasets": [{"path": "0"}]}]
    return str(path)


@pytest.fixture(scope="module")
def long_store(tmp_path_factory) -> str:
    """A volume of 1 x 1 x 12 blocks."""
    path = tmp_path_factory.mktemp("long") / "image.zarr"
    write_image(path, tissue_values(LONG))
    return str(path)


class Case:
    """One image and settings, segmented as often as a test likes."""

    def __init__(self, store: str, model: str, folder: Path, **settings):
        self.store, self.folder, self.work = store, folder, folder / "work"
        self.settings = {**CUT, "model": model, **settings}

    def plan(self, **more):
        settings = {**self.settings, "output": self.folder / "out.zarr", "work_dir": self.work, **more}
        return bigcp3d.plan_segmentation(self.store, **settings)

    def segment(self, output: str = "out.zarr", **more) -> np.ndarray:
        settings = {**self.settings, "output": self.folder / output, "work_dir": self.work, **more}
        bigcp3d.segment(self.store, **settings)
        return read_labels(self.folder / output, "cells")

    def whole(self) -> np.ndarray:
        """Labels of one block that holds the volume."""
        return self.segment("whole.zarr", block=(999, 999, 999), work_dir=self.folder / "whole")


@pytest.fixture(params=["plain", "flow error", "thin blocks on another grid", "two time points"])
def case(request, tissue_store, movie_store, random_model, tmp_path) -> Case:
    """Runs whose passes read different things."""
    store, settings = {
        "plain": (tissue_store, {}),
        "flow error": (tissue_store, ERROR),
        "thin blocks on another grid": (tissue_store, {**ERROR, "diameter_um": 3.0, "block": (30, 40, 5)}),
        "two time points": (movie_store, {**ERROR, "block": (20, 20, 20)}),
    }[request.param]
    return Case(store, random_model, tmp_path, **settings)


@pytest.mark.parametrize("keep", [False, True])
def test_maps_and_sinks_are_gone_when_labels_begin_and_all_when_they_are_written(case, monkeypatch, keep):
    seen = {}
    for moment, name in (("objects", "_create_labels"), ("labels", "finish_labels")):
        function = getattr(segment_module, name)

        def spy(*args, moment=moment, function=function, **more):
            seen[moment] = left(case.work)
            return function(*args, **more)

        monkeypatch.setattr(segment_module, name, spy)
    plan = case.plan()
    case.segment(keep_maps=keep)
    times = len(plan.times)
    maps, blocks = len(plan.patch_blocks.grid) * times * keep, len(plan.grid) * times
    assert seen["objects"] == {
        "maps": maps, "sinks": 0, "offsets": blocks, "components": blocks,
    }  # fmt: skip
    assert seen["labels"] == {"maps": maps, "sinks": 0, "offsets": 0, "components": 0}
    assert left(case.work)["maps"] == maps


@pytest.mark.parametrize("settings", [{}, {"keep_maps": True}, ERROR], ids=["plain", "keep maps", "flow error"])
def test_a_long_volume_never_holds_all_its_maps_unless_they_are_needed(long_store, random_model, tmp_path, settings):
    case = Case(long_store, random_model, tmp_path, block=LONG_BLOCK, **settings)
    peak: Counter[str] = Counter()

    def watch(event):
        nonlocal peak
        if isinstance(event, BlockDone):
            peak |= left(case.work)

    plan = case.plan()
    assert plan.patch_blocks.grid.counts == plan.grid.counts == (1, 1, 12)
    labels = case.segment(on_event=watch)
    assert peak["sinks"] <= 4
    assert peak["maps"] == 12 if settings else peak["maps"] <= 4
    assert np.array_equal(labels, case.whole())


def test_tasks_read_what_the_geometry_says_and_nothing_else(case, monkeypatch):
    found: dict[str, set] = {}
    read, read_table, perform = Run.read, passes.read_table, passes.PASSES.copy()

    def spy_read(run, name, time, box):
        found.setdefault(name, set()).update(run.plan.intermediate_grid(name).touching(box))
        return read(run, name, time, box)

    def spy_table(path):
        found.setdefault(path.parent.name, set()).add(vec3(path.stem.split(".")))
        return read_table(path)

    def spy(name):
        def task(run, time, index):
            found.clear()
            counts = perform[name](run, time, index)
            assert {kind: sorted(blocks) for kind, blocks in found.items()} == run.inputs.of(name, index)
            return counts

        return task

    monkeypatch.setattr(Run, "read", spy_read)
    monkeypatch.setattr(passes, "read_table", spy_table)
    for name in ("track", "cluster", "check", "label"):
        monkeypatch.setitem(passes.PASSES, name, spy(name))
    case.segment()


def test_every_task_follows_what_it_waits_for(case):
    seen = set()
    for task in [*object_tasks(case.plan()), *label_tasks(case.plan())]:
        assert seen.issuperset(task.needs)
        assert task.key not in seen
        seen.add(task.key)


@pytest.mark.parametrize("seed", range(2))
def test_a_run_that_is_stopped_around_removals_gives_the_same_labels(case, monkeypatch, seed):
    """Stopped again and again: before a task's removals, between two of them, after them."""
    rng = np.random.default_rng(seed)
    remove, intermediate = removal.remove_unneeded, Run.intermediate
    rounds = Counter()

    def stop_amid(run, name, time, index):
        removed = []

        def second(*key):
            removed.append(key)
            if len(removed) > 1:
                raise KeyboardInterrupt
            return intermediate(*key)

        with monkeypatch.context() as patch:
            patch.setattr(Run, "intermediate", second)
            remove(run, name, time, index)

    for _ in range(200):
        wait, moment = int(rng.integers(1, 10)), str(rng.choice(["before", "amid", "after"]))
        calls = []

        def stopping(*key, wait=wait, moment=moment, calls=calls):
            calls.append(key)
            if len(calls) < wait:
                return remove(*key)
            if moment == "before":
                raise KeyboardInterrupt
            if moment == "amid":
                return stop_amid(*key)
            before = left(case.work)
            remove(*key)
            if left(case.work) != before:
                raise KeyboardInterrupt
            return None

        with monkeypatch.context() as patch:
            patch.setattr(passes, "remove_unneeded", stopping)
            try:
                labels = case.segment()
                break
            except KeyboardInterrupt:
                rounds[moment] += 1
    assert sum(rounds.values()) >= 4
    assert np.array_equal(labels, case.whole())


@pytest.mark.parametrize("first", ["serial", "dask"])
def test_another_executor_carries_on_after_removals(tissue_store, random_model, tmp_path, first):
    """A block fails, here and on workers: a directory stands where its table should be written."""
    case = Case(tissue_store, random_model, tmp_path, block=(12, 20, 17))
    dask = {"executor": "dask", "workers": 2, "memory_limit": "4GiB"}
    plan = case.plan()
    prepare(plan, Run(plan), resumed=False, overwrite=False)
    (case.work / "t0" / "sinks" / "2.2.2.npz").mkdir(parents=True)
    with pytest.raises(BlockError, match=r"track of block \(2, 2, 2\)"):
        case.segment(**(dask if first == "dask" else {}))
    assert 0 < left(case.work)["maps"] < len(plan.patch_blocks.grid) / 2
    (case.work / "t0" / "sinks" / "2.2.2.npz").rmdir()
    assert np.array_equal(case.segment(**(dask if first == "serial" else {})), case.whole())


def test_two_readers_that_finish_at_once_both_remove(tissue_store, random_model, tmp_path, monkeypatch):
    case = Case(tissue_store, random_model, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(passes, "remove_unneeded", lambda *key: None)
        patch.setattr(segment_module, "_create_labels", lambda *args, **more: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            case.segment()
    assert left(case.work)["maps"] == left(case.work)["sinks"] == 8
    keys = [task.key for task in object_tasks(case.plan()) if task.key[0] in ("track", "cluster")]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: removal.remove_unneeded(Run(case.plan()), *key), keys * 3))
    assert left(case.work)["maps"] == left(case.work)["sinks"] == 0
    assert np.array_equal(case.segment(), case.whole())


@pytest.mark.parametrize("case", ["thin blocks on another grid"], indirect=True)
@pytest.mark.parametrize(("kind", "name"), [("maps", "track"), ("sinks", "cluster"), ("offsets", "label")])
def test_control_a_reader_that_is_left_out_fails_loudly(case, monkeypatch, kind, name):
    readers = Inputs.readers

    def fewer(self, of, block):
        found = list(readers(self, of, block))
        return [reader for reader in found[1:] if reader[0] == name] if of == kind else found

    monkeypatch.setattr(Inputs, "readers", fewer)
    with pytest.raises(BlockError, match=rf"{name} of block[\s\S]*(is gone|No such file)"):
        case.segment()


def test_control_without_looking_the_labels_would_be_wrong(tissue_store, random_model, tmp_path, monkeypatch):
    """What the error above stands for: zarr reads a shard that is gone as zeros."""
    case, readers = Case(tissue_store, random_model, tmp_path), Inputs.readers
    monkeypatch.setattr(Inputs, "readers", lambda self, k, b: list(readers(self, k, b))[k == "maps" :])
    monkeypatch.setattr(Run, "keeps", lambda self, kind, time: False)
    monkeypatch.setattr(Run, "_has_all_shards", lambda self, name, time: False)
    labels = case.segment()
    monkeypatch.undo()
    assert not np.array_equal(labels, case.whole())


def test_a_shard_of_fill_is_written_and_one_that_goes_while_it_is_read_is_noticed(
    tissue_store, random_model, tmp_path, monkeypatch
):
    plan = Case(tissue_store, random_model, tmp_path).plan()
    run = Run(plan)
    prepare(plan, run, resumed=False, overwrite=False)
    for name, channels, fill in (("maps", 4, 0), ("offsets", 3, -128)):
        core = plan.intermediate_grid(name).core((0, 0, 0))
        run.write(name, 0, core, np.full((channels, *core.shape), fill, np.int8))
        assert np.all(run.read(name, 0, core) == fill)
        with pytest.raises(FileNotFoundError, match=r"c/0/\d/\d/\d is gone.*same command"):
            run.read(name, 0, Box((0, 0, 0), plan.shape))
        array, path = run.array(name, 0), run.intermediate(name, 0, (0, 0, 0))

        class Going:
            """Loses a shard just before it is read."""

            metadata, attrs = array.metadata, array.attrs

            def __getitem__(self, box, array=array, path=path):
                path.unlink()
                return array[box]

        going = Going()
        monkeypatch.setattr(run, "array", lambda name, time, going=going: going)
        with pytest.raises(FileNotFoundError, match="is gone"):
            run.read(name, 0, core)
        monkeypatch.undo()


def test_a_worker_that_was_given_up_and_goes_on_writes_nothing(tissue_store, random_model, tmp_path, monkeypatch):
    case = Case(tissue_store, random_model, tmp_path)
    with monkeypatch.context() as patch:
        label = passes.PASSES["label"]
        patch.setitem(passes.PASSES, "label", lambda run, time, i: 1 / 0 if i == (1, 1, 1) else label(run, time, i))
        with pytest.raises(BlockError):
            case.segment()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for name in ("track", "cluster", "label"):
        with pytest.raises(FileNotFoundError):
            passes.PASSES[name](Run(case.plan()), 0, (0, 0, 0))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert np.array_equal(case.segment(), case.whole())


def test_a_run_begun_before_intermediates_went_is_carried_on(tissue_store, random_model, tmp_path, monkeypatch):
    """Its arrays may lack shards of fill, so they are left as they are."""
    case = Case(tissue_store, random_model, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(passes, "remove_unneeded", lambda *key: None)
        patch.setitem(passes.PASSES, "track", lambda *key: 1 / 0)
        with pytest.raises(BlockError):
            case.segment()
    for path in case.work.glob("t0/*/zarr.json"):
        metadata = json.loads(path.read_text())
        metadata["attributes"] = {}
        path.write_text(json.dumps(metadata))
    seen = []
    finish = segment_module.finish_labels
    monkeypatch.setattr(
        segment_module, "finish_labels", lambda *a, **m: seen.append(left(case.work)) or finish(*a, **m)
    )
    labels = case.segment()
    assert seen == [{"maps": 8, "offsets": 8, "sinks": 0, "components": 0}]
    assert np.array_equal(labels, case.whole())


def test_maps_are_not_kept_by_a_run_that_may_have_removed_some(tissue_store, random_model, tmp_path, monkeypatch):
    case = Case(tissue_store, random_model, tmp_path)
    with monkeypatch.context() as patch:
        patch.setitem(passes.PASSES, "cluster", lambda *key: 1 / 0)
        with pytest.raises(BlockError):
            case.segment()
    with pytest.raises(TargetError, match="--keep-maps now, but some may be gone"):
        case.segment(keep_maps=True)
    assert np.array_equal(case.segment(), case.whole())


def test_given_maps_are_never_touched(tissue_store, random_model, tmp_path):
    case = Case(tissue_store, random_model, tmp_path)
    labels = case.segment(keep_maps=True)
    maps = case.work / "t0" / "maps"
    before = {path: path.read_bytes() for path in maps.rglob("*") if path.is_file()}
    again = case.segment("again.zarr", maps=maps, work_dir=tmp_path / "again", **ERROR)
    assert {path: path.read_bytes() for path in maps.rglob("*") if path.is_file()} == before
    assert again.shape == labels.shape
