"""Labels of an array in memory are those of a store that holds it."""

import dask.array as da
import numpy as np
import pytest
import torch
import zarr

import bigcp3d
from bigcp3d.errors import InputError
from bigcp3d.schedule.running.events import LabelsReady, RunPlanned
from bigcp3d.schedule.segment_array import OWN, TAKEN
from tests.schedule.conftest import read_labels, tissue_values, write_image

SHAPE = (20, 40, 40)
VALUES = tissue_values(SHAPE)
FILTERS = {"min_volume": 20, "max_volume": 900, "max_elongation": 6.0, "max_flow_error": 2.0, "min_foreground": 0.6}


@pytest.fixture
def both(tmp_path, random_model):
    """Labels of an array, and those of a store with its voxels; the store's run is cut into blocks."""

    def segment(image, *, scale_um=None, given=None, mask=None, **settings):
        settings = {"model": random_model, "diameter_um": "as-is", "min_volume": 2, **settings}
        voxels = np.asarray(image)
        native = voxels.astype(voxels.dtype.newbyteorder("="))
        store = tmp_path / "image.zarr"
        write_image(store, native, scale_um=scale_um) if voxels.ndim == 3 else write_channels(store, native, scale_um)
        more = {"block": (60, 20, 51), "executor": "serial", "output": tmp_path / "o.zarr"}
        if mask is not None:
            write_image(tmp_path / "mask.zarr", mask.astype("uint8"), scale_um=scale_um)
            more["mask"] = tmp_path / "mask.zarr"
        bigcp3d.segment(store, **settings, **more)
        inside = bigcp3d.segment_array(image if given is None else given, scale_um=scale_um, mask=mask, **settings)
        return inside, read_labels(tmp_path / "o.zarr", "cells")

    return segment


def write_channels(path, values, scale_um):
    """A store of several channels."""
    from bigcp3d.edge.image.new_image import create_image, write_image_box
    from bigcp3d.pure.boxes import Box

    shape = values.shape[1:]
    image = create_image(
        path, shape, values.dtype.name, scale_um=scale_um, channels=len(values), chunk=shape, shard=shape
    )
    for channel, part in enumerate(values):
        write_image_box(image, Box.of_shape(shape), part, channel=channel)


def assert_same(inside, stored):
    assert inside.dtype == stored.dtype == np.uint32
    assert inside.max() > 10
    assert np.array_equal(inside, stored)


def slow(*values):
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "float32", *slow("int16", "float64")])
def test_every_dtype(both, dtype):
    values = VALUES.astype(np.float64)
    values = values / values.max() * (200 if dtype == "uint8" else 1 if "float" in dtype else 3000)
    assert_same(*both(values.astype(dtype)))


def test_voxels_that_are_not_cubes_and_a_diameter(both, random_model):
    settings = {"diameter_um": 3.0, "min_volume": 2, "model": random_model}
    inside, stored = both(VALUES, scale_um=(1.0, 0.5, 0.5), **settings)
    assert_same(inside, stored)
    other = bigcp3d.segment_array(VALUES, scale_um=(0.5, 0.5, 0.5), **settings)
    assert not np.array_equal(inside, other)  # the control


@pytest.mark.parametrize("settings", [FILTERS, {"foreground": 0.3, "closing_vox": 1}, *slow({"precision": "float32"})])
def test_settings_and_filters(both, settings):
    assert_same(*both(VALUES, **settings))


def test_a_region(both):
    inside, stored = both(VALUES, roi="4:16,10:40,5:35")
    assert_same(inside, stored)
    assert not inside[:4].any()


def test_a_mask_is_an_array_too(both):
    mask = np.zeros(SHAPE, bool)
    mask[5:15, 15:, 10:] = True
    inside, stored = both(VALUES, mask=mask)
    assert_same(inside, stored)
    assert not inside[~mask].any()


def test_channels(both, two_channel_model):
    image = np.stack([tissue_values(SHAPE, seed=3), tissue_values(SHAPE, seed=4)])
    assert_same(*both(image, model=two_channel_model, channel=(1, 0)))


def test_one_channel_of_several(both):
    image = np.stack([tissue_values(SHAPE, seed=3), tissue_values(SHAPE, seed=4)])
    inside, stored = both(image, channel=1)
    assert_same(inside, stored)


@pytest.mark.parametrize("chunks", [(20, 40, 40), ((5, 9, 6), 20, 40), *slow((7, 40, 18))])
def test_dask_arrays_in_any_chunks_each_computed_once(both, chunks):
    computed = []

    def look(block, block_info=None):
        if block_info:
            computed.append(block_info[0]["chunk-location"])
        return block

    image = da.from_array(VALUES, chunks=chunks).map_blocks(look, dtype=VALUES.dtype, meta=VALUES[:0, :0, :0])
    assert_same(*both(VALUES, given=image))
    assert sorted(computed) == sorted(np.ndindex(image.numblocks))


def test_what_can_be_sliced_like_an_array(both, tmp_path):
    assert_same(*both(VALUES, given=zarr.create_array(tmp_path / "bare", data=VALUES, chunks=(20, 20, 20))))


def test_nothing_is_left_and_torch_keeps_its_threads(random_model, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen = []
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        bigcp3d.segment_array(VALUES, model=random_model, diameter_um="as-is", on_event=seen.append)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    (planned,) = [event.plan for event in seen if isinstance(event, RunPlanned)]
    assert planned.storage.work_dir.startswith(str(tmp_path))  # the control: it was there
    assert any(isinstance(event, LabelsReady) for event in seen)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("image", "settings", "words"),
    [
        (np.zeros((4, 5)), {}, r"shape \(4, 5\).*\(z, y, x\) or \(c, z, y, x\)"),
        (np.zeros((4, 0, 5)), {}, "at least one voxel"),
        (np.zeros((4, 5, 6), bool), {}, "dtype bool.*integers or floating"),
        ([[[1.0]]], {}, "list of shape None"),
        (np.zeros((4, 5, 6)), {"diameter_um": 8.0}, "also give scale_um"),
        (
            np.zeros((4, 5, 6)),
            {"output": "o.zarr", "workers": 2},
            "takes no output, workers; it takes scale_um.*radius",
        ),
        (np.zeros((4, 5, 6)), {"mask": np.zeros((4, 5))}, r"mask is float64 of shape \(4, 5\)"),
        (np.zeros((4, 5, 6)), {"channel": 3}, "channel"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(image, settings, words):
    with pytest.raises(InputError, match=words):
        bigcp3d.segment_array(image, model="nuclei", **settings)


def test_it_takes_what_decides_the_labels_of_one_volume():
    taken = {*OWN, *TAKEN}
    assert taken >= {"diameter_um", "diameter_vox", "model", "channel", "roi", "precision", "block", *FILTERS}
    assert taken.isdisjoint({"source", "output", "name", "workers", "scheduler", "work_dir", "table", "level", "time"})
