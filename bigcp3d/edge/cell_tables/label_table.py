"""A table of cells inside the OME-Zarr store, beside the labels that it describes.

::

    <group>/labels/cells
    <group>/tables              the list of names, as ngio reads it
    <group>/tables/cells        AnnData: X (cells x features), obs (label, region, touches_border), var (names)

OME-Zarr itself has no tables yet. This is the form on which the others agree: the group is an AnnData store
(anndata >= 0.8 reads it alone), its attributes are those of a feature table of the Fractal/ngio specification 1, and
``uns/spatialdata_attrs`` says to SpatialData which labels the rows annotate. Written with zarr alone, in the zarr
format of the store. Attributes come last, so a table that was not finished is not found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.metadata import ome_part
from bigcp3d.edge.stores.places import Place, place, remove
from bigcp3d.edge.stores.zarr_write import edit_group, keeping_consolidated, writing
from bigcp3d.errors import InputError, TargetError

ROWS = 1 << 16
"""Rows of a chunk."""


def table_path(labels: ImageInfo) -> Place:
    """Where the table of labels goes: ``tables/<name>`` beside ``labels/<name>``.

    Raises
    ------
    InputError
        The labels do not lie in a ``labels`` group.
    """
    path = place(labels.path)
    if path.parent.name != "labels":
        raise InputError(
            f"{path}: found labels outside a labels group, so a store has no place for their table; give a file: "
            "--output TABLE.csv"
        )
    return path.parent.parent / "tables" / path.name


def check_label_table(labels: ImageInfo, *, overwrite: bool) -> None:
    """Refuse a table that is there already (`TargetError`), unless it may be replaced."""
    if not overwrite:
        refuse_table(table_path(labels))


def refuse_table(path: Place) -> None:
    """Refuse a table that is there already (`TargetError`)."""
    if path.exists():
        raise TargetError(f"{path}: found a table there already; give --overwrite to replace it, or a file: TABLE.csv")


def write_label_table(labels: ImageInfo, columns: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> Place:
    """Write the table of labels into their store, in place of one that is there.

    Parameters
    ----------
    labels : ImageInfo
        From `bigcp3d.edge.image.image.open_labels`.
    columns : mapping of str to ndarray, shape (n,)
        With ``label``; numbers become features, truth values and ``time`` observations.
    about : mapping
        What the table is of, for its attributes.

    Returns
    -------
    path : Place
        Of the table's group.
    """
    path = table_path(labels)
    zarr_format = labels.zarr_format
    features = {n: c for n, c in columns.items() if n not in ("label", "time") and c.dtype != bool}
    observed = {n: c for n, c in columns.items() if n not in features and n != "label"}
    rows = len(columns["label"])
    names = columns["label"].astype(str)
    if "time" in columns:
        names = np.char.add(np.char.add(columns["time"].astype(str), "-"), names)
    with writing(path), keeping_consolidated(path.parent.parent):
        tables = edit_group(path.parent, zarr_format, {})
        remove(path)
        root = edit_group(path, zarr_format, {})
        matrix = np.empty((rows, len(features)))
        for k, column in enumerate(features.values()):
            matrix[:, k] = column
        _array(root, "X", matrix)
        obs = {"label": columns["label"].astype(np.int64), **observed}
        _frame(root, "obs", names, obs, ["label", "region", *observed])
        _categories(root["obs"], "region", path.name, rows)
        _frame(root, "var", np.array(list(features), dtype=str), {}, [])
        for group in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            _group(root, group, "dict", "0.1.0")
        _spatialdata(root["uns"], path.name)
        root.attrs.update({**_ngio(path.name), "bigcp3d": dict(about)})
        _enter(tables, path.name)
    return path


def _ngio(name: str) -> dict[str, Any]:
    """Attributes of an AnnData store that is a feature table of labels."""
    return {
        "encoding-type": "anndata",
        "encoding-version": "0.1.0",
        "type": "feature_table",
        "table_version": "1",
        "backend": "anndata",
        "region": {"path": f"../labels/{name}"},
        "instance_key": "label",
        "index_key": "label",
        "index_type": "int",
    }


def _spatialdata(uns: Any, name: str) -> None:
    """Which labels the rows annotate, in SpatialData's words."""
    group = _group(uns, "spatialdata_attrs", "dict", "0.1.0")
    for key, value in (("region", name), ("region_key", "region"), ("instance_key", "label")):
        array = group.create_array(key, shape=(), dtype=str)
        array[...] = value
        array.attrs.update({"encoding-type": "string", "encoding-version": "0.2.0"})


def _enter(tables: zarr.Group, name: str) -> None:
    """Put the name into the list of tables."""
    listed = ome_part(tables.attrs.asdict()).get("tables", tables.attrs.asdict().get("tables"))
    names = [str(n) for n in listed] if isinstance(listed, list) else []
    tables.attrs.update({"tables": names if name in names else [*names, name]})


def _group(parent: Any, name: str, kind: str, version: str, **more: Any) -> zarr.Group:
    group: zarr.Group = parent.create_group(name)
    group.attrs.update({"encoding-type": kind, "encoding-version": version, **more})
    return group


def _array(parent: Any, name: str, values: NDArray[Any]) -> None:
    """One array; text as AnnData wants it."""
    text = values.dtype.kind == "U"
    chunks = tuple(max(1, min(s, ROWS) if k == 0 else s) for k, s in enumerate(values.shape))
    array = parent.create_array(name, shape=values.shape, chunks=chunks, dtype=str if text else values.dtype)
    if values.size:
        array[...] = values.astype(object) if text else values
    array.attrs.update({"encoding-type": "string-array" if text else "array", "encoding-version": "0.2.0"})


def _frame(root: Any, name: str, index: NDArray[Any], columns: Mapping[str, NDArray[Any]], order: list[str]) -> None:
    """A data frame with its index."""
    frame = _group(root, name, "dataframe", "0.2.0", **{"column-order": order, "_index": "_index"})
    _array(frame, "_index", index)
    for column, values in columns.items():
        _array(frame, column, values)


def _categories(frame: Any, name: str, value: str, rows: int) -> None:
    """A column that says the same in every row."""
    group = _group(frame, name, "categorical", "0.2.0", ordered=False)
    _array(group, "categories", np.array([value], dtype=str))
    _array(group, "codes", np.zeros(rows, np.int8))
