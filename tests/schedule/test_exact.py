"""The promise: labels equal, bit for bit, to those of the whole volume, with the network in the loop.

The reference is the serial executor with one block that holds the volume. A network with random weights gives ragged
foreground and flows that cross every seam; the shipped one gives real cells, on seams, corners and the border.
"""

from __future__ import annotations

import numpy as np
import pytest

import bigcp3d
from bigcp3d.schedule.clusters.this_machine import precision_here
from tests.schedule.conftest import SHAPE, read_labels

BLOCKS = [(64, 64, 64), (17, 30, 26), (13, 31, 23), (34, 9, 40), (5, 40, 48), (21, 60, 11), (200, 300, 400)]
WHOLE = (1000, 1000, 1000)


def labels_of(store, model, output, *, block=WHOLE, executor="serial", **more):
    """Segment into ``output``; the labels and the summary."""
    settings = {"diameter_um": "as-is", "min_volume": 2, "max_flow_error": 2.0, "max_elongation": 20.0, **more}
    summary = bigcp3d.segment(store, output=output, model=model, block=block, executor=executor, **settings)
    return read_labels(output, "cells"), summary


@pytest.fixture(scope="module")
def whole(tissue_store, random_model, tmp_path_factory):
    """For the random and the shipped network: the labels that every way of cutting must give."""
    labels = {}
    for name, model in (("random", random_model), ("shipped", "nuclei")):
        labels[name], summary = labels_of(tissue_store, model, tmp_path_factory.mktemp(name) / "out.zarr")
        assert summary.blocks == 1
    return labels


def test_the_reference_has_cells_on_seams_and_border_and_empty_blocks(whole):
    labels = whole["random"]
    assert labels.max() > 100
    for axis, seam in enumerate((17, 30, 26)):
        below, above = np.take(labels, seam - 1, axis=axis), np.take(labels, seam, axis=axis)
        assert np.any((below == above) & (below > 0)), f"no cell crosses the seam of axis {axis}"
        assert np.take(labels, 0, axis=axis).any(), f"no cell touches the border of axis {axis}"
    cells = whole["shipped"]
    assert cells.max() > 8
    assert not cells[:, : SHAPE[1] // 6].any(), "the empty part holds no cell"


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_labels_do_not_depend_on_the_block(whole, tissue_store, random_model, block, tmp_path):
    labels, _ = labels_of(tissue_store, random_model, tmp_path / "out.zarr", block=block)
    assert np.array_equal(labels, whole["random"])


def test_labels_of_the_shipped_model_do_not_depend_on_the_block(whole, tissue_store, tmp_path):
    labels, summary = labels_of(tissue_store, "nuclei", tmp_path / "out.zarr", block=(34, 9, 26))
    assert summary.blocks == 14
    assert np.array_equal(labels, whole["shipped"])


@pytest.mark.skipif(precision_here() == "float32", reason="the test above ran in float32")
def test_labels_of_the_shipped_model_in_float32_do_not_depend_on_the_block(tissue_store, tmp_path):
    one, other = (
        labels_of(tissue_store, "nuclei", tmp_path / f"{block[0]}.zarr", block=block, precision="float32")[0]
        for block in (WHOLE, (34, 9, 26))
    )
    assert one.max() > 8
    assert np.array_equal(one, other)


@pytest.mark.parametrize("name", ["random", "shipped"])
def test_labels_do_not_depend_on_workers(whole, tissue_store, random_model, two_workers, name, tmp_path):
    model = random_model if name == "random" else "nuclei"
    labels, summary = labels_of(tissue_store, model, tmp_path / "out.zarr", block=(17, 30, 26), **two_workers)
    assert summary.blocks == 8
    assert np.array_equal(labels, whole[name])


def test_labels_do_not_depend_on_a_worker_that_the_run_starts(whole, tissue_store, random_model, tmp_path):
    settings = {"block": (17, 30, 26), "executor": "dask", "workers": 1, "memory_limit": "4GiB"}
    labels, summary = labels_of(tissue_store, random_model, tmp_path / "out.zarr", **settings)
    assert summary.blocks == 8
    assert np.array_equal(labels, whole["random"])


@pytest.mark.parametrize("diameter_um", [3.0, 6.0])
def test_labels_do_not_depend_on_the_block_on_a_working_grid(tissue_store, random_model, diameter_um, tmp_path):
    expected, counted = labels_of(tissue_store, random_model, tmp_path / "whole.zarr", diameter_um=diameter_um)
    assert expected.shape == SHAPE
    assert np.array_equal(np.unique(expected), np.arange(counted.cells + 1)), "ids are dense where labels are coarser"
    assert expected.max() > 0
    for i, block in enumerate([(29, 30, 17), (9, 64, 64)]):
        labels, summary = labels_of(
            tissue_store, random_model, tmp_path / f"{i}.zarr", diameter_um=diameter_um, block=block
        )
        assert summary.blocks > 1
        assert np.array_equal(labels, expected)


def test_ids_are_dense_and_in_raster_order(whole):
    for labels in whole.values():
        ids, first = np.unique(labels, return_index=True)
        assert np.array_equal(ids, np.arange(labels.max() + 1))
        assert np.all(np.diff(first[1:]) > 0)


def test_a_halo_that_is_too_small_would_be_seen(tissue_store, random_model, tmp_path, monkeypatch):
    """The control: the comparison above fails when clusters do not look at their neighbours' sinks."""
    from bigcp3d.pure.boxes import BlockGrid, Box
    from bigcp3d.work.passes import passes

    expected, _ = labels_of(tissue_store, random_model, tmp_path / "whole.zarr")
    near = passes._sinks_near
    monkeypatch.setattr(passes, "_sinks_near", lambda run, time, box: near(run, time, run.plan.grid.core((0, 0, 0))))
    assert BlockGrid(SHAPE, (17, 30, 26)).core((0, 0, 0)) == Box((0, 0, 0), (17, 30, 26))
    labels, _ = labels_of(tissue_store, random_model, tmp_path / "out.zarr", block=(17, 30, 26))
    assert not np.array_equal(labels, expected)


def test_tied_votes_of_working_voxels_do_not_depend_on_the_block(tissue_store, random_model, tmp_path):
    """Image voxels of many fine working voxels: cells tie often, and must do so by something that no block decides."""
    settings = {"diameter_um": 1.25, "max_flow_error": None, "max_elongation": None, "foreground": 0.3}
    expected, _ = labels_of(tissue_store, random_model, tmp_path / "whole.zarr", **settings)
    labels, _ = labels_of(tissue_store, random_model, tmp_path / "cut.zarr", block=(140, 60, 40), **settings)
    assert np.array_equal(labels, expected)


@pytest.mark.parametrize(
    "more", [{}, {"diameter_um": 3.0}, {"roi": "5:30,8:50,10:45"}], ids=["plain", "votes", "region"]
)
def test_what_is_odd_about_the_cells_does_not_depend_on_the_block(tissue_store, random_model, more, tmp_path):
    one, other = (
        labels_of(tissue_store, random_model, tmp_path / f"{i}.zarr", block=block, **more)[1]
        for i, block in enumerate([WHOLE, (20, 30, 26)])
    )
    assert one.found[0]["path_squares"] > 0
    assert one.oddities
    assert (other.found, other.oddities) == (one.found, one.oddities)
