"""Runs from which intermediates were removed, stopped at any moment and carried on: the labels are the same."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bigcp3d.errors import BlockError, TargetError
from bigcp3d.schedule import segment as segment_module
from bigcp3d.schedule.running import start
from bigcp3d.schedule.running.events import BlockDone
from bigcp3d.schedule.running.start import prepare
from bigcp3d.schedule.running.tasks import in_order, object_passes
from bigcp3d.work.passes import passes, removal
from bigcp3d.work.plan.plan import read_plan
from bigcp3d.work.run.run import Run
from bigcp3d.work.run.work_dir import WorkDir
from tests.schedule.conftest import Case, left, read_labels

SLOW_CASES = [pytest.param(case, marks=pytest.mark.slow) for case in ("flow error", "two time points")]


@pytest.mark.parametrize("case", ["plain", "thin blocks on another grid", *SLOW_CASES], indirect=True)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_that_is_stopped_around_removals_gives_the_same_labels(case, monkeypatch, seed):
    """Stopped again and again: before a task's removals, between two of them, after them."""
    rng = np.random.default_rng(seed)
    remove, intermediate = removal.remove_unneeded, WorkDir.intermediate
    rounds = Counter()

    def stop_amid(run, name, time, index):
        removed = []

        def second(*key):
            removed.append(key)
            if len(removed) > 1:
                raise KeyboardInterrupt
            return intermediate(*key)

        with monkeypatch.context() as patch:
            patch.setattr(WorkDir, "intermediate", second)
            remove(run, name, time, index)

    for _ in range(200):
        wait, moment = int(rng.integers(3, 13)), str(rng.choice(["before", "amid", "after"]))
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


@pytest.mark.parametrize("first", [pytest.param("serial", marks=pytest.mark.slow), "dask"])
def test_another_executor_carries_on_after_removals(tissue_store, random_model, two_workers, tmp_path, first):
    """A block fails, here and on workers: a directory stands where its table should be written."""
    case = Case(tissue_store, random_model, tmp_path, block=(34, 60, 9))
    plan = case.plan()
    prepare(plan, resumed=False, overwrite=False)
    (case.work / "t0" / "sinks" / "0.0.5.table").mkdir(parents=True)
    with pytest.raises(BlockError, match=r"track of block \(0, 0, 5\)"):
        case.segment(**(two_workers if first == "dask" else {}))
    assert 0 < left(case.work)["maps"] < len(plan.patch_blocks.grid)
    (case.work / "t0" / "sinks" / "0.0.5.table").rmdir()
    assert np.array_equal(case.segment(**(two_workers if first == "serial" else {})), case.whole())


def stop_before_labels(case: Case, monkeypatch, *, remove: bool) -> None:
    """Leave a run whose objects are done, with or without removals."""
    with monkeypatch.context() as patch:
        if not remove:
            patch.setattr(passes, "remove_unneeded", lambda *key: None)
        patch.setattr(segment_module, "_create_labels", lambda *args, **more: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            case.segment()


def test_what_a_task_with_a_damaged_record_reads_stays(tissue_store, random_model, tmp_path, monkeypatch):
    case = Case(tissue_store, random_model, tmp_path)
    stop_before_labels(case, monkeypatch, remove=False)
    (WorkDir(case.work).records(0) / "track" / "0.1.0.json").write_text("{}")
    removal.remove_unneeded(Run(case.plan()), "track", 0, (0, 0, 0))
    assert left(case.work)["maps"] == 8
    assert np.array_equal(case.segment(), case.whole())


def test_a_record_damaged_after_its_input_went_fails_loudly(tissue_store, random_model, tmp_path, monkeypatch):
    case = Case(tissue_store, random_model, tmp_path)
    stop_before_labels(case, monkeypatch, remove=True)
    (WorkDir(case.work).records(0) / "track" / "0.1.0.json").write_text("{}")
    with pytest.raises(BlockError, match=r"track of block \(0, 1, 0\).*maps/c/0/\d/\d/\d is gone.*start again"):
        case.segment()


def test_two_readers_that_finish_at_once_both_remove(tissue_store, random_model, tmp_path, monkeypatch):
    case = Case(tissue_store, random_model, tmp_path)
    stop_before_labels(case, monkeypatch, remove=False)
    monkeypatch.setattr(removal, "MOST_REMEMBERED", 2)  # workers forget records that they have seen
    assert left(case.work)["maps"] == left(case.work)["sinks"] == 8
    plan = case.plan()
    keys = [task.key for task in in_order(object_passes(plan)) if task.key[0] in ("track", "cluster")]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: removal.remove_unneeded(Run(plan), *key), keys * 3))
    assert left(case.work)["maps"] == left(case.work)["sinks"] == 0
    assert np.array_equal(case.segment(), case.whole())


def test_a_directory_that_was_half_removed_is_begun_anew(tissue_store, random_model, tmp_path, monkeypatch):
    """A run stopped among its labels; then --overwrite with other settings, killed while it emptied the directory."""
    case = Case(tissue_store, random_model, tmp_path)
    whole, label, remove = case.whole(), passes.PASSES["label"], start._remove

    def stop_last(run, time, index):
        if index == (1, 1, 1):
            raise KeyboardInterrupt
        return label(run, time, index)

    def stop(path):
        if path.name.startswith("run-"):
            (path / "t0" / "maps" / "zarr.json").unlink()
            (path / "t0" / "bases.npy").unlink()
            raise KeyboardInterrupt
        remove(path)

    with monkeypatch.context() as patch:
        patch.setitem(passes.PASSES, "label", stop_last)
        with pytest.raises(KeyboardInterrupt):
            case.segment()
    with monkeypatch.context() as patch:
        patch.setattr(start, "_remove", stop)
        with pytest.raises(KeyboardInterrupt):
            case.segment(overwrite=True, foreground=0.4)
    assert np.array_equal(case.segment(overwrite=True), whole)


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


def test_maps_are_not_kept_by_a_run_that_may_have_removed_some(tissue_store, random_model, tmp_path, monkeypatch):
    case = Case(tissue_store, random_model, tmp_path)
    with monkeypatch.context() as patch:
        patch.setitem(passes.PASSES, "cluster", lambda *key: 1 / 0)
        with pytest.raises(BlockError):
            case.segment()
    with pytest.raises(TargetError, match="--keep-maps was added, but some maps may be deleted"):
        case.segment(keep_maps=True)
    assert np.array_equal(case.segment(), case.whole())


def test_tasks_of_a_discarded_run_that_go_on_change_nothing(tissue_store, tissue_maps, tmp_path, monkeypatch):
    """As on a cluster whose client was stopped: Dask cannot stop what runs. The next run takes the same folder."""
    case = Case(tissue_store, "membrane", tmp_path, maps=tissue_maps, radius_vox=2.5)
    discarded, left_over = [], []

    def stop(event):
        if isinstance(event, BlockDone) and event.name == "label":
            discarded.append(run := Run(read_plan(case.work)))
            assert run.array("offsets", 0).shape
            assert run.target.dtype
            run.check_place()
            raise KeyboardInterrupt

    def go_on(event):
        if isinstance(event, BlockDone) and (event.name, event.done) == ("track", 1):
            left_over.extend(passes.perform(discarded[0], "track", 0, index) for index in discarded[0].plan.grid)
            discarded[0].dir.own.rename(tmp_path / "gone")  # control: they have written where the run began
            assert len(list((tmp_path / "gone").glob("t0/records/track/*"))) == len(left_over)

    with pytest.raises(KeyboardInterrupt):
        case.segment(on_event=stop, foreground=0.9)
    labels = case.segment(on_event=go_on, overwrite=True)
    assert np.array_equal(labels, case.whole())
    assert left_over
    assert not case.work.exists()
    monkeypatch.setattr(passes, "_label_working", lambda run, time, box, *_: (np.ones(box.shape, "u4"), None, None))
    with pytest.raises(TargetError, match="was discarded or has ended"):
        passes.label(discarded[0], 0, (0, 0, 0))
    assert np.array_equal(read_labels(tmp_path / "out.zarr", "cells"), labels)
