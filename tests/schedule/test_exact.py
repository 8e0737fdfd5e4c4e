"""The promise: labels equal, bit for bit, to those of the whole volume, with the network in the loop.

The reference is the serial executor with one block that holds the volume. A network with random weights gives ragged
foreground and flows that cross every seam; the shipped one gives real cells, on seams, corners and the border.
"""

from __future__ import annotations

import numpy as np
import pytest

import bigcp3d
from bigcp3d.schedule.clusters.this_machine import precision_here
from bigcp3d.work.plan.pass_blocks import count_patches
from tests.schedule.conftest import SHAPE, read_labels, tissue_values, write_image

BLOCKS = [(64, 64, 64), (34, 9, 40), (5, 60, 51), (21, 60, 11), (17, 30, 26), (13, 31, 23), (5, 40, 48)]
FIRST = 4  # of these, thin ones on each axis, run in CI; on workers also (17, 30, 26)
WHOLE = (1000, 1000, 1000)


def labels_of(store, model, output, *, block=WHOLE, executor="serial", **more):
    """Segment into ``output``; the labels and the summary."""
    settings = {"diameter_um": "as-is", "min_volume": 2, "max_flow_error": 2.0, "max_elongation": 20.0, **more}
    summary = bigcp3d.segment(store, output=output, model=model, block=block, executor=executor, **settings)
    return read_labels(output, "cells"), summary


@pytest.fixture(scope="module")
def whole(tissue_store, random_model, tmp_path_factory):
    """For the random and the shipped network: the labels and the summary that every way of cutting must give."""
    made = {}
    for name, model in (("random", random_model), ("shipped", "nuclei")):
        made[name] = labels_of(tissue_store, model, tmp_path_factory.mktemp(name) / "out.zarr")
        assert made[name][1].blocks == 1
    return made


def assert_same(found, expected):
    """Labels are equal, and so is what looks odd about the cells."""
    assert np.array_equal(found[0], expected[0])
    assert (found[1].found, found[1].oddities) == (expected[1].found, expected[1].oddities)


def test_the_reference_has_cells_on_seams_and_border_and_empty_blocks_and_looks_odd(whole):
    labels, summary = whole["random"]
    assert summary.found[0]["path_squares"] > 0
    assert summary.oddities
    assert labels.max() > 100
    for axis, seam in enumerate((17, 30, 26)):
        below, above = np.take(labels, seam - 1, axis=axis), np.take(labels, seam, axis=axis)
        assert np.any((below == above) & (below > 0)), f"no cell crosses the seam of axis {axis}"
        assert np.take(labels, 0, axis=axis).any(), f"no cell touches the border of axis {axis}"
    cells, _ = whole["shipped"]
    assert cells.max() > 8
    assert not cells[:, : SHAPE[1] // 6].any(), "the empty part holds no cell"


@pytest.mark.parametrize(
    "block", [*BLOCKS[:FIRST], *(pytest.param(block, marks=pytest.mark.slow) for block in BLOCKS[FIRST:])], ids=str
)
def test_labels_do_not_depend_on_the_block(whole, tissue_store, random_model, block, tmp_path):
    assert_same(labels_of(tissue_store, random_model, tmp_path / "out.zarr", block=block), whole["random"])


def test_labels_of_the_shipped_model_do_not_depend_on_the_block(whole, tissue_store, tmp_path):
    labels, summary = labels_of(tissue_store, "nuclei", tmp_path / "out.zarr", block=(34, 20, 26))
    assert summary.blocks == 6
    assert np.array_equal(labels, whole["shipped"][0])


@pytest.mark.parametrize("precision", sorted({"float32", "int8", precision_here()}))
def test_labels_of_the_shipped_model_in_every_precision_do_not_depend_on_the_block(precision, tmp_path):
    write_image(tmp_path / "image.zarr", np.tile(tissue_values(), (1, 2, 2)), scale_um=(1.0, 0.5, 0.5))
    settings = {"model": "nuclei", "precision": precision, "diameter_um": "as-is"}
    assert count_patches(bigcp3d.plan_segmentation(tmp_path / "image.zarr", **settings)) > 1
    one, other = (
        labels_of(tmp_path / "image.zarr", output=tmp_path / f"{block[0]}.zarr", block=block, **settings)[0]
        for block in (WHOLE, (34, 61, 26))
    )
    assert one.max() > 8
    assert np.array_equal(one, other)


@pytest.mark.parametrize("name", ["random", pytest.param("shipped", marks=pytest.mark.slow)])
def test_labels_do_not_depend_on_workers(whole, tissue_store, random_model, two_workers, name, tmp_path):
    model = random_model if name == "random" else "nuclei"
    labels, summary = labels_of(tissue_store, model, tmp_path / "out.zarr", block=(17, 30, 26), **two_workers)
    assert summary.blocks == 8
    assert np.array_equal(labels, whole[name][0])


@pytest.mark.slow
def test_labels_do_not_depend_on_a_worker_that_the_run_starts(whole, tissue_store, random_model, tmp_path):
    settings = {"block": (17, 30, 26), "executor": "dask", "workers": 1, "memory_limit": "4GiB"}
    labels, summary = labels_of(tissue_store, random_model, tmp_path / "out.zarr", **settings)
    assert summary.blocks == 8
    assert np.array_equal(labels, whole["random"][0])


@pytest.mark.parametrize(
    ("diameter_um", "block"),
    [
        (3.0, (29, 30, 17)),
        (6.0, (9, 64, 64)),
        pytest.param(3.0, (9, 64, 64), marks=pytest.mark.slow),
        pytest.param(6.0, (29, 30, 17), marks=pytest.mark.slow),
    ],
)
def test_labels_do_not_depend_on_the_block_on_a_working_grid(tissue_store, random_model, diameter_um, block, tmp_path):
    whole = labels_of(tissue_store, random_model, tmp_path / "whole.zarr", diameter_um=diameter_um)
    expected, counted = whole
    assert expected.shape == SHAPE
    assert np.array_equal(np.unique(expected), np.arange(counted.cells + 1)), "ids are dense where labels are coarser"
    assert expected.max() > 0
    cut = labels_of(tissue_store, random_model, tmp_path / "cut.zarr", diameter_um=diameter_um, block=block)
    assert cut[1].blocks > 1
    assert_same(cut, whole)


def test_ids_are_dense_and_in_raster_order(whole):
    for labels, _ in whole.values():
        ids, first = np.unique(labels, return_index=True)
        assert np.array_equal(ids, np.arange(labels.max() + 1))
        assert np.all(np.diff(first[1:]) > 0)


def test_a_halo_that_is_too_small_would_be_seen(whole, tissue_store, random_model, tmp_path, monkeypatch):
    """The control: the comparison above fails when clusters do not look at their neighbours' sinks."""
    from bigcp3d.pure.boxes import BlockGrid, Box
    from bigcp3d.work.passes import passes

    near = passes._sinks_near
    monkeypatch.setattr(passes, "_sinks_near", lambda run, time, box: near(run, time, run.plan.grid.core((0, 0, 0))))
    assert BlockGrid(SHAPE, (17, 30, 26)).core((0, 0, 0)) == Box((0, 0, 0), (17, 30, 26))
    labels, _ = labels_of(tissue_store, random_model, tmp_path / "out.zarr", block=(17, 30, 26))
    assert not np.array_equal(labels, whole["random"][0])


def test_labels_of_many_fine_working_voxels_do_not_depend_on_the_block(random_model, tmp_path):
    write_image(tmp_path / "image.zarr", tissue_values((17, 36, 26)), scale_um=(1.0, 0.5, 0.5))
    settings = {"diameter_um": 1.25, "max_flow_error": None, "max_elongation": None, "foreground": 0.3}
    expected, _ = labels_of(tmp_path / "image.zarr", random_model, tmp_path / "whole.zarr", **settings)
    labels, _ = labels_of(tmp_path / "image.zarr", random_model, tmp_path / "cut.zarr", block=(68, 36, 30), **settings)
    assert expected.max() > 20
    assert np.array_equal(labels, expected)


def test_what_is_odd_about_the_cells_of_a_region_does_not_depend_on_the_block(tissue_store, random_model, tmp_path):
    whole, cut = (
        labels_of(tissue_store, random_model, tmp_path / f"{i}.zarr", block=block, roi="5:30,8:50,10:45")
        for i, block in enumerate([WHOLE, (34, 30, 26)])
    )
    assert whole[1].oddities
    assert_same(cut, whole)
