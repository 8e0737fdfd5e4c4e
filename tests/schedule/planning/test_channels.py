"""Several channels: picked by name or index, each normalised by itself, and exact under blocking as one is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

import bigcp3d
from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.edge.models.model_families import load_card, load_network
from bigcp3d.edge.models.model_files import save_model
from bigcp3d.errors import InputError, ModelError
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.predict.normalise import normalise_intensity
from bigcp3d.pure.predict.run_network import mend_border
from bigcp3d.schedule.planning.channels import choose_channels
from bigcp3d.schedule.planning.request import Request
from bigcp3d.work.run.work_dir import WorkDir
from tests.fake_cellpose import install, write_weights
from tests.schedule.conftest import SHAPE, read_labels, tissue_values

NAMES = ("DAPI", "nuclei", "membrane")
CUT = {"min_volume": 2, "max_flow_error": 2.0, "executor": "serial", "diameter_um": "as-is"}
WHOLE = (1000, 1000, 1000)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """Membranes and nuclei of cells at the same places, in other orders of brightness; and a channel of nothing."""
    path = tmp_path_factory.mktemp("stained") / "image.zarr"
    nuclei = tissue_values()
    membrane = tissue_values(stain="membrane") * 7 + 1000
    image = create_image(
        path, SHAPE, "uint16", scale_um=(1.0, 0.5, 0.5), channels=3, chunk=(34, 24, 24), shard=(34, 24, 24)
    )
    whole = Box.of_shape(SHAPE)
    for channel, values in enumerate((np.zeros(SHAPE, np.uint16), nuclei, membrane)):
        zarr.open_array(f"{image.path}/0", mode="r+")[channel] = values[whole.slices()]
    metadata = json.loads((path / "zarr.json").read_text())
    metadata["attributes"]["ome"]["omero"] = {"channels": [{"label": name} for name in NAMES]}
    (path / "zarr.json").write_text(json.dumps(metadata))
    assert open_image(path).channel_names == NAMES
    return path


def labels_of(store, model, output, *, block=WHOLE, **more):
    bigcp3d.segment(store, output=output, model=model, block=block, **{**CUT, **more})
    return read_labels(output, "cells")


@pytest.fixture(scope="module")
def whole(store, two_channel_model, tmp_path_factory) -> np.ndarray:
    """Labels in one block."""
    labels = labels_of(store, two_channel_model, tmp_path_factory.mktemp("whole") / "out.zarr", channel=(2, 1))
    for axis, seam in enumerate((17, 30, 26)):
        below, above = np.take(labels, seam - 1, axis=axis), np.take(labels, seam, axis=axis)
        assert np.any((below == above) & (below > 0)), f"no cell crosses the seam of axis {axis}"
    return labels


@pytest.mark.parametrize(
    "block", [(17, 30, 26), *(pytest.param(b, marks=pytest.mark.slow) for b in [(13, 31, 23), (34, 20, 40)])], ids=str
)
def test_labels_of_two_channels_do_not_depend_on_the_block(whole, store, two_channel_model, block, tmp_path):
    labels = labels_of(store, two_channel_model, tmp_path / "out.zarr", block=block, channel=(2, 1))
    assert np.array_equal(labels, whole)


@pytest.mark.slow  # `test_exact` and `test_region` show in CI that workers get the whole plan
def test_labels_of_two_channels_do_not_depend_on_workers(whole, store, two_channel_model, two_workers, tmp_path):
    dask = {"block": (17, 30, 26), **two_workers}
    assert np.array_equal(labels_of(store, two_channel_model, tmp_path / "out.zarr", channel=(2, 1), **dask), whole)


def test_labels_of_two_channels_do_not_depend_on_the_block_on_a_working_grid(store, two_channel_model, tmp_path):
    settings = {"channel": ("membrane", "nuclei"), "diameter_um": 3.0}
    expected = labels_of(store, two_channel_model, tmp_path / "whole.zarr", **settings)
    assert expected.max() > 10
    assert np.array_equal(
        labels_of(store, two_channel_model, tmp_path / "out.zarr", block=(29, 60, 26), **settings), expected
    )


def test_channels_are_picked_by_name_or_index_and_their_order_matters(whole, store, two_channel_model, tmp_path):
    for channel in (("membrane", "nuclei"), ("membrane", 1)):
        settings = {"model": two_channel_model, "channel": channel, "output": tmp_path / "o.zarr", **CUT}
        assert bigcp3d.plan_segmentation(store, **settings).source.channels == (2, 1)
    assert np.array_equal(labels_of(store, two_channel_model, tmp_path / "o.zarr", channel=None), whole)
    said = zarr.open_group(f"{tmp_path}/o.zarr/labels/cells").attrs.asdict()
    assert said["bigcp3d"]["parameters"]["channels"] == [2, 1]
    exchanged = labels_of(store, two_channel_model, tmp_path / "other.zarr", channel=(1, 2))
    assert not np.array_equal(exchanged, whole), "the control"


def test_the_network_sees_each_channel_normalised_by_its_own_percentiles(store, two_channel_model, tmp_path):
    """Against the network on one padded volume of numpy's making, where one patch decides."""
    network, card = load_network(two_channel_model)
    wide = tmp_path / "wide.safetensors"
    save_model(wide, network, card.model_copy(update={"patch": (96, 96, 96)}))
    settings = {
        "model": wide,
        "channel": ("membrane", "nuclei"),
        "precision": "float32",
        "work_dir": tmp_path / "work",
        "diameter_um": "as-is",
    }
    plan = bigcp3d.plan_segmentation(store, output=tmp_path / "out.zarr", **settings)
    assert len(plan.patches.cores) == 1
    bigcp3d.segment(store, output=tmp_path / "out.zarr", keep_maps=True, **{**CUT, **settings})
    image = []
    for channel in (2, 1):
        values = zarr.open_array(f"{store}/0", mode="r")[channel]
        low, high = np.percentile(values, [card.low_percentile, card.high_percentile])
        image.append(normalise_intensity(values, float(np.float32(low)), float(np.float32(high)), card.clip))
    record = WorkDir(tmp_path / "work").read_once("normalise", 0)
    assert record["low"][0] > 900 > record["low"][1]
    (box,) = (plan.patches.window(index) for index in plan.patches.cores)
    around = [(-a, b - s) for a, b, s in zip(box.start, box.stop, SHAPE, strict=True)]
    padded = np.stack([np.pad(channel, around, mode="reflect") for channel in image])
    answer = network(torch.from_numpy(padded)[None])[0]
    mend_border(answer, box, SHAPE)
    expected = 127 * answer.numpy()[(slice(None), *Box.of_shape(SHAPE).slices(box.start))]
    expected[0] = np.maximum(expected[0], 0)
    maps = zarr.open_array(tmp_path / "work" / "t0" / "maps", mode="r")[...]
    assert np.abs(maps - expected).max() < 0.6


def test_channels_that_cannot_be_are_refused_before_anything_is_written(
    store, tissue_store, two_channel_model, random_model, tmp_path, caplog
):
    plan = bigcp3d.plan_segmentation
    more = {"output": tmp_path / "out.zarr", "diameter_um": "as-is"}
    with pytest.raises(InputError, match=r"takes 2 input channel.* \(membrane, nuclei\), but 1 were given"):
        plan(store, model=two_channel_model, channel="nuclei", **more)
    with pytest.raises(InputError, match=r"takes 1 input channel.*2 were given"):
        plan(store, model=random_model, channel=(0, 1), **more)
    with pytest.raises(InputError, match=r"takes 2 input channel.* \(membrane, nuclei\), but 0 were given"):
        plan(tissue_store, model=two_channel_model, **more)
    with pytest.raises(InputError, match="'actin'; use 0 to 2, or a name: 0 DAPI, 1 nuclei, 2 membrane"):
        plan(store, model=two_channel_model, channel=("membrane", "actin"), **more)
    with pytest.raises(InputError, match=r"channel 0.*all .* voxels have the intensity 0"):
        bigcp3d.segment(store, model=two_channel_model, channel=(2, 0), **{**more, **CUT})
    assert not (tmp_path / "out.zarr").exists()
    plan(store, model=two_channel_model, channel=("nuclei", "membrane"), **more)
    assert "given in another order" in caplog.text


def test_the_channel_that_is_taken_is_told_if_none_is_named(store, random_model, caplog):
    bigcp3d.plan_segmentation(store, model=random_model, diameter_um="as-is", channel=1)
    choose_channels(open_image(store), Request(source=store, model=random_model, maps="maps.zarr"))
    assert "channels" not in caplog.text  # control; and given maps have no channel to take
    assert bigcp3d.plan_segmentation(store, model=random_model, diameter_um="as-is").source.channels == (0,)
    assert "the image has 3 channels (DAPI, nuclei, membrane); the first is taken" in caplog.text


def test_a_card_names_as_many_channels_as_the_network_has(two_channel_model):
    card = load_card(two_channel_model)
    with pytest.raises(ValueError, match="2 channels, but 1 names"):
        type(card).model_validate({**card.model_dump(), "channel_names": ("membrane",)})


def test_nan_in_any_channel_is_counted_once(two_channel_model, tmp_path):
    values = np.random.default_rng(0).random((2, 20, 24, 28)).astype(np.float32)
    values[0, 3, 4, 5] = values[1, 3, 4, 5] = values[1, 11, 20, 20] = np.nan
    image = create_image(
        tmp_path / "i.zarr", (20, 24, 28), "float32", scale_um=None, channels=2, chunk=(20, 24, 28), shard=(20, 24, 28)
    )
    for channel in range(2):
        write_image_box(image, Box.of_shape((20, 24, 28)), values[channel], channel=channel)
    summary = bigcp3d.segment(
        image.path,
        model=two_channel_model,
        diameter_um="as-is",
        channel=(0, 1),
        block=(9, 11, 28),
        executor="serial",
        min_volume=2,
    )
    assert summary.nonfinite_vox == 3


def test_cellpose_takes_a_second_channel_and_labels_stay_exact(store, tmp_path, monkeypatch):
    monkeypatch.setattr("bigcp3d.edge.models.cellpose.PATCH", 32)
    install(monkeypatch, tmp_path)
    model = f"cellpose:{write_weights(tmp_path / 'weights')}"
    both = labels_of(store, model, tmp_path / "both.zarr", channel=(2, 1))
    assert np.array_equal(labels_of(store, model, tmp_path / "cut.zarr", channel=(2, 1), block=(17, 60, 26)), both)
    assert not np.array_equal(labels_of(store, model, tmp_path / "one.zarr", channel=2), both)
    with pytest.raises(InputError, match=r"takes 2 input channel.*3 were given"):
        bigcp3d.plan_segmentation(
            store, model=model, diameter_um="as-is", channel=(2, 1, 0), output=tmp_path / "no.zarr"
        )
    with pytest.raises(ModelError):
        bigcp3d.plan_segmentation(
            store, model="cellpose:unknown", diameter_um="as-is", channel=(2, 1), output=tmp_path / "no.zarr"
        )
