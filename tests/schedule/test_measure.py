"""Tables of cells from stores: whatever the blocks and workers, with intensities of any kind, and from a run."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest
import zarr
from skimage.measure import regionprops_table

import bigcp3d
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.edge.labels.label_plan import plan_labels
from bigcp3d.edge.labels.labels import create_labels, finish_labels, write_label_part
from bigcp3d.edge.stores.zarr_write import edit_attributes
from bigcp3d.errors import InputError, TargetError
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.predict.normalise import sample_boxes
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.schedule.running.events import LabelsReady, Warned
from bigcp3d.work.analyse.measure import measure_block, plan_measurement
from bigcp3d.work.simulate import simulate
from tests.schedule.conftest import read_labels, write_image

SHAPE, SCALE = (22, 44, 38), (2.0, 0.5, 0.5)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Small cells in small shards."""
    path = tmp_path_factory.mktemp("measure") / "tissue.zarr"
    simulate(path, Tissue(SHAPE, 9.0, "membrane", seed=2, empty=0.1), scale_um=SCALE, shard=(16, 16, 16))
    return path


def write_one_cell(image, cell: Box) -> None:
    """Labels ``cells`` of an image, with one cell at each time point."""
    target = plan_labels(image, None, "cells", shard=(64, 64, 64))
    create_labels(target, overwrite=False)
    for time in range(image.times):
        write_label_part(target, 0, cell, np.full(cell.shape, 7, np.uint32), time=time)
    finish_labels(target, attributes={})


def same(one, other) -> bool:
    return list(one) == list(other) and all(np.array_equal(one[n], other[n], equal_nan=True) for n in one)


def test_tables_do_not_depend_on_blocks_or_workers(store, two_workers):
    whole = bigcp3d.measure(store, "truth", block=SHAPE).columns
    assert len(whole["label"]) > 40
    told: list[tuple[int, int]] = []
    more = {"on_event": lambda event: told.append((event.done, event.total))}
    for settings in ({"block": (7, 44, 9), **more}, {"block": (10, 13, 38), "scheduler": two_workers["scheduler"]}):
        assert same(bigcp3d.measure(store, "truth", **settings).columns, whole), settings
    assert told[-1] == (20, 20)
    assert same(bigcp3d.measure(store, "truth").columns, whole)


def test_a_block_that_is_lost_would_be_seen(store, monkeypatch):
    """The control."""
    whole = bigcp3d.measure(store, "truth").columns
    first = measure_block(plan_measurement(store, "truth", block=(7, 44, 9)), 0, (0, 0, 0))
    monkeypatch.setattr("bigcp3d.schedule.measure.measure_block", lambda what, time, index: first)
    assert not same(bigcp3d.measure(store, "truth", block=(7, 44, 9)).columns, whole)


SLOW = [pytest.param(dtype, marks=pytest.mark.slow) for dtype in ("uint8", "uint32")]


@pytest.mark.parametrize("dtype", ["float32", "int16", *SLOW])
def test_intensities_of_any_dtype_are_measured(store, dtype, tmp_path):
    labels = np.asarray(zarr.open_array(store / "labels" / "truth" / "0")[:])
    rng = np.random.default_rng(1)
    values = rng.normal(100, 20, SHAPE).clip(0, 200)
    values = (values / 7 if dtype == "float32" else values * 1e6 if dtype == "uint32" else values).astype(dtype)
    write_image(tmp_path / "image.zarr", values, scale_um=SCALE)
    settings = {"image": tmp_path / "image.zarr"}
    table = bigcp3d.measure(store, "truth", **settings).columns
    expected = regionprops_table(labels, values, ("intensity_mean", "intensity_std"))
    rtol = 1e-5 if dtype == "float32" else 1e-9  # scikit-image adds in float32
    np.testing.assert_allclose(table["mean_channel0"], expected["intensity_mean"], rtol=rtol)
    np.testing.assert_allclose(table["std_channel0"], expected["intensity_std"], atol=1e-6 * values.max(), rtol=rtol)
    assert same(bigcp3d.measure(store, "truth", block=(5, 50, 11), **settings).columns, table)


def test_bright_cells_in_a_large_dark_image_keep_their_intensity(store, tmp_path):
    labels = np.asarray(zarr.open_array(store / "labels" / "truth" / "0")[:])
    values = np.random.default_rng(3).normal(0, 1e-3, SHAPE).astype(np.float32)
    chosen = min(np.unique(labels[labels > 0]), key=lambda cell: np.count_nonzero(labels == cell))
    assert np.mean(labels == chosen) < 0.01
    values[labels == chosen] = 1.0
    write_image(tmp_path / "image.zarr", values, scale_um=SCALE)
    table = bigcp3d.measure(store, "truth", image=tmp_path / "image.zarr").columns
    assert table["mean_channel0"][table["label"] == chosen] == 1.0


@pytest.mark.parametrize("first", [0.0, 0.001])
def test_intensities_do_not_depend_on_those_of_other_time_points(tmp_path, first):
    """The first time point is blank, or much darker than the second."""
    path, shape = tmp_path / "movie.zarr", (6, 16, 16)
    image = create_image(path, shape, "float32", scale_um=SCALE, times=2, chunk=shape, shard=shape)
    dark = np.linspace(0, first, 6 * 16 * 16, dtype=np.float32).reshape(shape)
    for time, values in enumerate((dark, np.full(shape, 0.3, np.float32))):
        write_image_box(image, Box.of_shape(shape), values, time=time)
    cell = Box((1, 2, 3), (5, 9, 12))
    write_one_cell(image, cell)
    table = bigcp3d.measure(path, "cells").columns
    np.testing.assert_allclose(table["mean_channel0"], [dark[cell.slices()].mean(), np.float32(0.3)], rtol=1e-6)
    assert table["std_channel0"][1] == 0


def test_a_small_bright_cell_in_a_large_empty_image_keeps_its_intensity(tmp_path):
    """It lies between the boxes of the sample that the network's percentiles come from."""
    path, shape = tmp_path / "large.zarr", (40, 260, 260)
    cell = Box((0, 0, 0), (2, 3, 4))
    assert all(cell.intersect(box).empty for box in sample_boxes(shape))
    values = np.zeros(shape, np.float32)
    values[cell.slices()] = 0.25
    write_one_cell(write_image(path, values, scale_um=SCALE), cell)
    assert bigcp3d.measure(path, "cells").columns["mean_channel0"].tolist() == [0.25]


def test_every_time_point_has_its_rows(movie_store, random_model, tmp_path):
    settings = {
        "model": random_model,
        "executor": "serial",
        "diameter_um": "as-is",
        "output": tmp_path / "out.zarr",
        "min_volume": 2,
    }
    bigcp3d.segment(movie_store, block=(20, 40, 20), table=tmp_path / "cells.csv", max_flow_error=2.0, **settings)
    table = bigcp3d.measure(tmp_path / "out.zarr").columns
    labels = read_labels(tmp_path / "out.zarr", "cells")
    assert np.bincount(table["time"]).tolist() == [len(np.unique(t)) - 1 for t in labels]
    assert "mean_channel0" in table, "the labels point to their image"
    rows = list(csv.DictReader((tmp_path / "cells.csv").read_text().splitlines()))
    assert [int(row["label"]) for row in rows] == table["label"].tolist()
    foreground, error = (np.array([float(row[name]) for row in rows]) for name in ("foreground", "flow_error"))
    assert np.all((foreground > 0.5) & (foreground <= 1))
    assert np.all((error > 0) & (error <= 2.0))


def test_what_a_run_knew_counts_only_for_cells_that_are_as_it_left_them(tissue_store, random_model, tmp_path):
    out, work = tmp_path / "out.zarr", tmp_path / "work"
    settings = {"model": random_model, "executor": "serial", "diameter_um": "as-is", "min_volume": 2, "work_dir": work}
    bigcp3d.segment(tissue_store, output=out, keep_maps=True, table="zarr", **settings)
    table = bigcp3d.measure(out, work_dir=work).columns
    assert np.all(table["foreground"] > 0.5)
    assert zarr.open_array(out / "tables" / "cells" / "obs" / "label").shape == table["label"].shape
    array = zarr.open_array(out / "labels" / "cells" / "0")
    values = np.asarray(array[:])
    values[np.nonzero(values == 3)[0][:1], :, :] = 0
    array[:] = values
    changed = bigcp3d.measure(out, work_dir=work).columns
    assert 0 < np.isnan(changed["foreground"]).sum() < len(changed["label"]) / 2


def test_channels_of_one_name_have_columns_of_their_own(store, tmp_path):
    values = np.random.default_rng(4).integers(0, 99, (2, *SHAPE), dtype=np.uint8)
    image = create_image(tmp_path / "two.zarr", SHAPE, "uint8", scale_um=SCALE, channels=2, chunk=SHAPE, shard=SHAPE)
    omero = {"channels": [{"label": "a b"}, {"label": "a b"}]}
    edit_attributes(tmp_path / "two.zarr", 3, lambda old: {"ome": {**old["ome"], "omero": omero}})
    for channel in range(2):
        write_image_box(image, Box.of_shape(SHAPE), values[channel], channel=channel)
    table = bigcp3d.measure(store, "truth", image=tmp_path / "two.zarr").columns
    truth = read_labels(store, "truth")
    for channel in range(2):
        means = [values[channel][truth == label].mean() for label in table["label"]]
        assert np.allclose(table[f"mean_a_b#{channel}"], means)


def test_what_cannot_be_written_or_measured_is_refused_first(store, tmp_path):
    (tmp_path / "there.csv").write_text("mine")
    with pytest.raises(TargetError, match="--overwrite"):
        bigcp3d.measure(store, "truth", output=tmp_path / "there.csv")
    assert (tmp_path / "there.csv").read_text() == "mine"
    with pytest.raises(InputError, match=r"\.csv or \.parquet"):
        bigcp3d.measure(store, "truth", output=tmp_path / "cells.xlsx")
    with pytest.raises(InputError, match="there is no channel 'DAPI'"):
        bigcp3d.measure(store, "truth", channel="DAPI")
    write_image(tmp_path / "other.zarr", np.zeros((4, 5, 6), np.uint8))
    with pytest.raises(InputError, match="no level of"):
        bigcp3d.measure(store, "truth", image=tmp_path / "other.zarr")
    with pytest.raises(InputError, match=r"the name ends in .\.txt.; use"):
        bigcp3d.segment(store, table="cells.txt", model="membrane", executor="serial", diameter_um="as-is")


def test_micrometres_are_those_that_the_user_gave(tissue_store, tissue_maps, random_model, tmp_path):
    settings = {"model": random_model, "maps": tissue_maps, "executor": "serial", "scale_um": (2.0, 1.5, 1.0)}
    bigcp3d.segment(tissue_store, output=tmp_path / "told.zarr", **settings)
    columns = bigcp3d.measure(tmp_path / "told.zarr").columns
    assert len(columns["label"]) > 10
    np.testing.assert_allclose(columns["volume_um3"], 3.0 * columns["volume_vox"])


def test_a_table_in_the_store_is_not_replaced_unasked_by_a_run(tissue_store, tissue_maps, random_model, tmp_path):
    out = tmp_path / "out.zarr"
    settings = {"model": random_model, "maps": tissue_maps, "executor": "serial", "min_volume": 2, "table": "zarr"}
    bigcp3d.segment(tissue_store, output=out, **settings)
    (out / "tables" / "cells").rename(out / "tables" / "other")  # another tool's, say, of labels that are yet to come
    before = {path: path.read_bytes() for path in (out / "tables" / "other").rglob("*") if path.is_file()}
    with pytest.raises(TargetError, match="other: there is a table already; give --overwrite"):
        bigcp3d.segment(tissue_store, output=out, name="other", **settings)
    assert {path: path.read_bytes() for path in before} == before
    bigcp3d.segment(tissue_store, output=out, name="other", overwrite=True, **settings)
    assert not all(path.exists() and path.read_bytes() == content for path, content in before.items()), "the control"


@pytest.mark.parametrize("table", ["cells.csv", "zarr"])
def test_a_run_that_was_stopped_after_its_table_is_carried_on(
    tissue_store, tissue_maps, random_model, tmp_path, monkeypatch, table
):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out.zarr"
    settings = {"model": random_model, "maps": tissue_maps, "executor": "serial", "table": table, "output": out}

    def stop(event):
        if isinstance(event, LabelsReady):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bigcp3d.segment(tissue_store, on_event=stop, **settings)
    summary = bigcp3d.segment(tissue_store, **settings)
    assert summary.cells == len(bigcp3d.measure(out).columns["label"])
    assert list(tmp_path.glob("*.bigcp3d")) == []


def test_labels_without_a_voxel_size_are_measured_with_that_of_the_image(store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "copy.zarr")
    right = bigcp3d.measure(store, "truth").columns["volume_um3"]
    group = zarr.open_group(copy / "labels/truth")
    ome = group.attrs.asdict()["ome"]
    for level in ome["multiscales"][0]["datasets"]:
        del level["coordinateTransformations"]
    group.attrs["ome"] = ome
    assert np.array_equal(bigcp3d.measure(copy, "truth").columns["volume_um3"], right)


def test_very_many_cells_get_no_table_beside_the_store(tissue_store, tissue_maps, random_model, tmp_path, monkeypatch):
    file, told = tmp_path / "out.cells.csv", []
    settings = {"model": random_model, "maps": tissue_maps, "executor": "serial", "min_volume": 2}
    settings |= {"output": tmp_path / "out.zarr", "on_event": told.append, "overwrite": True}

    def warnings_of(table):
        told.clear()
        assert bigcp3d.segment(tissue_store, table=table, **settings).table == (str(file) if file.exists() else None)
        return " ".join(event.message for event in told if isinstance(event, Warned))

    with monkeypatch.context() as patch:
        patch.setattr("bigcp3d.schedule.measure.MOST_BESIDE", 1)
        assert f"--output {file}" in warnings_of("csv")
        assert not file.exists()
    assert "cells.csv" not in warnings_of("csv")
    assert file.exists()
    told.clear()
    assert bigcp3d.segment(tissue_store, **settings).table is None
    assert f"{file} describes earlier labels" in " ".join(e.message for e in told if isinstance(e, Warned))
