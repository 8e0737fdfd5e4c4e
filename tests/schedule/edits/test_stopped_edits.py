"""A correction or an undo that is stopped at any step is finished or taken back by the next command."""

from __future__ import annotations

import shutil
from contextlib import contextmanager, suppress

import numpy as np
import pytest

import bigcp3d
from bigcp3d.edge.labels import labels as label_files
from bigcp3d.edge.labels.edit_log import EditLog
from bigcp3d.edge.stores import atomic_files
from bigcp3d.edge.workdir.lock_file import LockFile
from bigcp3d.errors import InputError, TargetError
from bigcp3d.schedule.running.lock import hold_locks
from bigcp3d.work import change_labels
from bigcp3d.work.run.work_dir import default_work_dir
from tests.schedule.edits.conftest import Store

STEPS = ((atomic_files.os, "replace"), (label_files, "write_part"), (EditLog, "commit"), (EditLog, "end"))
"""Functions that change a file. Each is a step before it, and one after it."""


class Stopped(BaseException):
    """Stands for a kill."""


@contextmanager
def stopped_at(monkeypatch, number: int):
    """Stop at a step, counted from 1; gives the list of steps that were taken."""
    taken: list[str] = []

    def step(name):
        taken.append(name)
        if len(taken) == number:
            raise Stopped

    def wrap(real, name):
        def run(*args, **more):
            if name == "replace" and "lock" in str(args[1]):
                return real(*args, **more)
            step(f"before {name}")
            done = real(*args, **more)
            step(f"after {name}")
            return done

        return run

    with monkeypatch.context() as patch, suppress(Stopped):
        for place, name in STEPS:
            patch.setattr(place, name, wrap(getattr(place, name), name))
        yield taken


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_change_that_was_stopped_when_it_counts_stays_and_is_not_called_taken_back(store, monkeypatch, caplog):
    real = EditLog.end
    with monkeypatch.context() as patch, suppress(Stopped):
        patch.setattr(EditLog, "end", lambda log: (_ for _ in ()).throw(Stopped))
        bigcp3d.edit(store.path).delete(3)
    assert EditLog.end is real
    assert bigcp3d.edit(store.path).settle() is None
    assert "taken back" not in caplog.text
    assert not (store.levels()[0] == 3).any()
    assert [change.kind for change in bigcp3d.edit(store.path).log()][-1] == "delete"


def test_a_correction_that_has_lost_its_lock_does_not_count(store, monkeypatch):
    before, lock = store.levels(), LockFile(default_work_dir(str(store.path), "cells"))
    renew = change_labels.renew_pyramid

    def lose(*args, **more):
        lock.remove()
        renew(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(change_labels, "renew_pyramid", lose)
        with pytest.raises(TargetError, match="this run has lost its lock"):
            bigcp3d.edit(store.path).delete(3)
    assert not same(store.levels(), before)
    assert bigcp3d.edit(store.path).settle().kind == "delete"
    assert same(store.levels(), before)


def test_an_undo_whose_voxels_are_lost_changes_nothing(store):
    edits = bigcp3d.edit(store.path)
    change = edits.delete(3)
    (store.path / f"labels/cells/edits/{change.number}.zip").write_bytes(b"damaged")
    with pytest.raises(InputError, match="cannot be read"):
        edits.undo(yes=True)
    assert edits.settle() is None
    edits.delete(4)
    assert not (store.levels()[0] == 4).any()


CHANGES = {
    "merge": lambda edits: edits.merge(1, 2),
    "split": lambda edits: edits.split(2, seeds=[(8, 12, 15), (8, 12, 21)]),
    "undo": lambda edits: edits.undo(),
}


@pytest.fixture(scope="module")
def begun(ball_store, tmp_path_factory):
    """Labels with two changes, in shards of which several hold a cell, without a table."""
    path = tmp_path_factory.mktemp("begun") / "balls.zarr"
    shutil.copytree(ball_store, path)
    shutil.rmtree(path / "tables")
    edits = bigcp3d.edit(path)
    edits.add(np.ones((3, 3, 3), bool), at=(0, 0, 0))
    edits.delete(1)
    edits.undo()
    edits.delete(7)
    return Store(path)


@pytest.mark.parametrize("kind", ["merge", pytest.param("split", marks=pytest.mark.slow), "undo"])
def test_a_change_counts_as_a_whole_or_not_at_all_wherever_it_is_stopped(begun, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(atomic_files.os, "fsync", lambda file: None)  # a power cut is not what is tried here
    copy, before, lines = Store(tmp_path / "balls.zarr"), begun.levels(), len(bigcp3d.edit(begun.path).log())

    def change(number):
        shutil.rmtree(copy.path, ignore_errors=True)
        shutil.copytree(begun.path, copy.path)
        edits = bigcp3d.edit(copy.path)
        with stopped_at(monkeypatch, number) as taken:
            CHANGES[kind](edits)
        return taken

    steps = len(change(0))
    after, ends = copy.levels(), set()
    assert not same(before, after), "the control"
    assert steps >= 10
    for number in sorted({*range(1, 4), *range(4, steps, 10), *range(steps - 3, steps + 1)}):
        last = change(number)[-1]
        edits = bigcp3d.edit(copy.path)
        edits.settle()
        counts = len(edits.log()) > lines
        ends.add(counts)
        assert same(copy.levels(), after if counts else before), f"step {number}, {last}"
        assert not (copy.path / "labels/cells/edits/pending.json").exists()
    assert ends == {True, False}


def test_whoever_reads_labels_first_puts_right_what_was_stopped(store, monkeypatch, tmp_path):
    first = store.levels()
    with stopped_at(monkeypatch, 7):
        bigcp3d.edit(store.path).delete(4)
    assert not same(store.levels(), first), "the control"
    lock = LockFile(default_work_dir(str(store.path), "cells"))
    with hold_locks([lock]):
        bigcp3d.export(store.path, tmp_path / "cells.tif", what="labels")
    assert not same(store.levels(), first), "somebody else is at work"
    bigcp3d.measure(store.path)
    assert same(store.levels(), first)


def test_a_line_that_was_cut_short_does_not_count(store):
    edits, first = bigcp3d.edit(store.path), store.levels()
    edits.delete(7)
    path = store.path / "labels/cells/edits/log.jsonl"
    with open(path, "ab") as file:
        file.write(b'{"number": 2, "kind": "del')
    assert [change.number for change in edits.log()] == [1]
    edits.delete(5)
    assert [change.number for change in edits.log()] == [1, 2]
    edits.undo(2)
    assert same(store.levels(), first)


def test_a_second_editor_is_refused_and_told_of_the_lock(store):
    lock = LockFile(default_work_dir(str(store.path), "cells"))
    with hold_locks([lock]), pytest.raises(TargetError, match=str(lock)):
        bigcp3d.edit(store.path).delete(1)
    bigcp3d.edit(store.path).delete(1)
    assert not lock.path.exists()
