"""A run of several ranges of first voxels gives what a run of one range gives, bit for bit.

Real runs have that many objects only in volumes of more than a billion voxels, so ranges are made short here.
"""

from __future__ import annotations

import numpy as np
import pytest

import bigcp3d
from bigcp3d.edge.workdir.tables import read_table
from bigcp3d.schedule.running.tasks import in_order, object_passes
from bigcp3d.work.passes import passes
from bigcp3d.work.plan import id_ranges
from bigcp3d.work.run.work_dir import WorkDir
from tests.schedule.conftest import ERROR, Case, read_labels

LARGE = ("stitch", "gather", "filter")
"""Passes of large runs alone."""


def cells_of(case: Case, **more) -> tuple[np.ndarray, dict, bigcp3d.Summary]:
    """Labels, the table of cells, and the summary of a run that keeps both."""
    settings = {**case.settings, "output": case.folder / "out.zarr", "work_dir": case.work, "keep_maps": True, **more}
    summary = bigcp3d.segment(case.store, **settings)
    tables = [read_table(file) for file in WorkDir(case.work).all_objects(0)]
    columns = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    columns = {name: column[np.argsort(columns["first"])] for name, column in columns.items()}
    return read_labels(case.folder / "out.zarr", "cells"), columns, summary


@pytest.mark.parametrize(
    ("block", "more"),
    [
        # thinner than cells: objects of three blocks and more
        pytest.param((7, 40, 13), ERROR, marks=pytest.mark.slow),
        pytest.param((9, 64, 64), {"diameter_um": 3.0, "max_flow_error": 2.0}, marks=pytest.mark.slow),
        pytest.param((13, 31, 23), {"roi": "5:30,8:50,10:45"}, marks=pytest.mark.slow),
        pytest.param((13, 31, 23), {"foreground": 0.1}, marks=pytest.mark.slow),
        ((17, 30, 26), ERROR),
    ],
    ids=["thin blocks, flow error", "another grid", "region", "much foreground", "flow error"],
)
def test_labels_table_and_counts_are_those_of_one_range(tissue_store, random_model, tmp_path, monkeypatch, block, more):
    settings = {"min_volume": 2, "max_elongation": 20.0, **more}
    small = Case(tissue_store, random_model, tmp_path / "small", **{**settings, "block": (999, 999, 999)})
    assert not small.plan().stitches
    labels, columns, summary = cells_of(small)
    monkeypatch.setattr(id_ranges, "CELLS", 20)
    large = Case(tissue_store, random_model, tmp_path / "large", **{**settings, "block": block})
    plan = large.plan()
    assert plan.id_ranges.number > 2
    assert {task.key[0] for task in in_order(object_passes(plan))}.issuperset(LARGE)
    found, rows, counted = cells_of(large)
    assert labels.max() > 20
    assert np.array_equal(found, labels)
    assert rows.keys() == columns.keys()
    assert all(np.array_equal(rows[name], columns[name]) for name in columns)
    assert (counted.cells, counted.removed, counted.found) == (summary.cells, summary.removed, summary.found)
    assert any(counted.removed.values())


@pytest.mark.parametrize(
    "where", ["stitch", *(pytest.param(where, marks=pytest.mark.slow) for where in ("join", "filter", "resolve"))]
)
def test_a_large_run_that_stops_is_carried_on(tissue_store, tissue_maps, random_model, tmp_path, monkeypatch, where):
    """It stops in the second task of a pass, or after what a pass of one task has written, before its record."""
    case = Case(tissue_store, random_model, tmp_path, maps=tissue_maps)
    expected = case.whole()
    monkeypatch.setattr(id_ranges, "CELLS", 40)
    began, task = [], passes.PASSES[where]

    def stop(*arguments):
        began.append(arguments[2])
        counts = task(*arguments)
        if len(began) == 2 or where in ("join", "resolve"):
            raise KeyboardInterrupt
        return counts

    with monkeypatch.context() as patch:
        patch.setitem(passes.PASSES, where, stop)
        with pytest.raises(KeyboardInterrupt):
            case.segment()
    again = []
    monkeypatch.setitem(passes.PASSES, where, lambda *task_: [again.append(task_[2]), task(*task_)][1])
    assert np.array_equal(case.segment(), expected)
    assert set(again).isdisjoint(began[:-1]), "what was recorded is not done again"
    assert began[-1] in again
