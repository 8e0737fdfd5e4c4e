"""A table inside the store: anndata opens it, with ngio's attributes and SpatialData's keys; and as a file.

ngio and spatialdata are too large for every test: they were tried by hand.
"""

from __future__ import annotations

import importlib.util
import json

import anndata
import numpy as np
import pytest
import zarr

from bigcp3d.edge.cell_tables.cell_files import write_cell_file
from bigcp3d.edge.cell_tables.label_table import check_label_table, table_path, write_label_table
from bigcp3d.edge.image.image import open_labels
from bigcp3d.edge.stores.places import place, zarr_store
from bigcp3d.errors import InputError, TargetError

# anndata 0.13 asks pandas for an option that pandas 3 warns of, whenever it reads a table.
pytestmark = pytest.mark.filterwarnings("ignore:The 'future.infer_string' option:Warning")

COLUMNS = {
    "label": np.array([3, 7], np.uint64),
    "volume_vox": np.array([10, 2**40]),
    "mean_DAPI": np.array([1.5, np.nan]),
    "touches_border": np.array([True, False]),
}


def labels_in(stores, version: str):
    """Labels of a store of either zarr format."""
    path = stores.image(version)
    key = "labels"
    stores.folder = path
    stores.image(version, name=f"{key}/cells", dtype="uint32")
    listed = {key: ["cells"]}
    group = zarr.open_group(path / key, mode="a", zarr_format=2 if version == "0.4" else 3)
    group.attrs.update(listed if version == "0.4" else {"ome": {"version": version, **listed}})
    return open_labels(path, "cells")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_table_lies_beside_the_labels_as_anndata_ngio_and_spatialdata_read_it(stores, version):
    labels = labels_in(stores, version)
    path = write_label_table(labels, COLUMNS, {"version": "1"})
    tables = zarr.open_group(path.parent, mode="r")
    assert tables.attrs["tables"] == ["cells"]
    table = tables["cells"]
    assert table.metadata.zarr_format == labels.zarr_format
    assert table.attrs["encoding-type"] == "anndata"
    assert (table.attrs["type"], table.attrs["region"]) == ("feature_table", {"path": "../labels/cells"})
    np.testing.assert_array_equal(table["X"][:], [[10, 1.5], [2.0**40, np.nan]])
    assert list(table["var/_index"][:]) == ["volume_vox", "mean_DAPI"]
    assert table["obs"].attrs["column-order"] == ["label", "region", "touches_border"]
    assert table["obs/label"][:].tolist() == [3, 7]
    assert list(table["obs/_index"][:]) == ["3", "7"]
    assert list(table["obs/region/categories"][:]) == ["cells"]
    assert table["uns/spatialdata_attrs/instance_key"][()] == "label"
    assert {"layers", "obsm", "obsp", "varm", "varp"} < set(table.group_keys())
    assert table.attrs["bigcp3d"] == {"version": "1", "labels_id": None}
    opened = anndata.io.read_zarr(path)
    np.testing.assert_array_equal(opened.X, table["X"][:])
    assert list(opened.obs_names) == ["3", "7"]
    assert opened.obs["label"].tolist() == [3, 7]
    assert opened.obs["region"].tolist() == ["cells", "cells"]
    assert opened.obs["touches_border"].tolist() == [True, False]
    assert opened.uns["spatialdata_attrs"] == {"region": "cells", "region_key": "region", "instance_key": "label"}


SLOW_WAYS = [pytest.param(*way, marks=pytest.mark.slow) for way in [("0.4", True), ("0.4", False), ("0.5", False)]]


@pytest.mark.parametrize(("version", "replaced"), [("0.5", True), *SLOW_WAYS])
def test_a_table_can_be_written_into_a_bucket(stores, version, replaced, s3):
    """Anew, or in place of one that is there."""
    local = labels_in(stores, version)
    if replaced:
        write_label_table(local, {name: column[:1] for name, column in COLUMNS.items()}, {})
    spot = place(f"{s3}/embryo.zarr")
    for file in stores.folder.rglob("*"):
        if file.is_file():
            (spot / file.relative_to(stores.folder).as_posix()).write_bytes(file.read_bytes())
    labels = open_labels(f"{s3}/embryo.zarr", "cells")
    path = write_label_table(labels, COLUMNS, {})
    group = zarr.open_group(zarr_store(path), mode="r")
    assert group.metadata.zarr_format == local.zarr_format
    assert anndata.io.read_elem(group).obs["label"].tolist() == [3, 7]
    assert zarr.open_group(zarr_store(path.parent), mode="r").attrs["tables"] == ["cells"]


def test_time_points_are_in_the_names_of_rows_and_a_table_may_be_empty(stores):
    labels = labels_in(stores, "0.5")
    columns = {"time": np.array([0, 1]), **COLUMNS, "label": np.array([3, 3], np.uint64)}
    opened = anndata.io.read_zarr(write_label_table(labels, columns, {}))
    assert list(opened.obs_names) == ["0-3", "1-3"]
    assert opened.obs["time"].tolist() == [0, 1]
    empty = anndata.io.read_zarr(write_label_table(labels, {name: c[:0] for name, c in COLUMNS.items()}, {}))
    assert empty.shape == (0, 2)


def test_without_anndata_a_table_in_the_store_is_refused_before_any_work(stores, monkeypatch):
    labels = labels_in(stores, "0.5")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for overwrite in (False, True):
        with pytest.raises(
            InputError,
            match=r'pip install "bigcp3d\[anndata\]", or write a file: --output cells\.csv \(.*--table cells\.csv\)',
        ):
            check_label_table(table_path(labels), overwrite=overwrite)


def test_a_table_is_replaced_only_if_asked(stores):
    labels = labels_in(stores, "0.5")
    path = write_label_table(labels, COLUMNS, {})
    with pytest.raises(TargetError, match="--overwrite"):
        check_label_table(path, overwrite=False)
    path = write_label_table(labels, {name: column[:1] for name, column in COLUMNS.items()}, {})
    assert zarr.open_group(path)["obs/label"].shape == (1,)


def test_a_store_that_cannot_be_written_to_is_refused_before_any_work(stores, monkeypatch):
    labels = labels_in(stores, "0.5")
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    with pytest.raises(TargetError, match=r"is not a folder with write permission; give a file: TABLE\.csv"):
        check_label_table(table_path(labels), overwrite=False)
    with pytest.raises(InputError, match="a web server can only be read from"):
        check_label_table(place("http://127.0.0.1:1/embryo.zarr/tables/cells"), overwrite=True)


def test_labels_that_lie_in_no_labels_group_have_no_place_for_a_table(stores):
    path = stores.image("0.5", edit=lambda ome: ome.update({"image-label": {}}))
    with pytest.raises(InputError, match=r"--output TABLE\.csv"):
        write_label_table(open_labels(path, "cells"), COLUMNS, {})


def test_parquet_keeps_types_and_what_the_table_is_of(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_cell_file(tmp_path / "t.parquet", COLUMNS, {"labels": "here"})
    table = parquet.read_table(tmp_path / "t.parquet")
    assert json.loads(table.schema.metadata[b"bigcp3d"]) == {"labels": "here"}
    for name, column in COLUMNS.items():
        np.testing.assert_array_equal(table[name].to_numpy(), column)
        assert table[name].to_numpy().dtype == column.dtype
