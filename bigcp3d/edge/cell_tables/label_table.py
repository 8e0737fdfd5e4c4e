"""Writes a table of cells into the OME-Zarr store, beside the labels that it describes, with anndata.

::

    <group>/labels/cells
    <group>/tables              the list of names, as ngio reads it
    <group>/tables/cells        AnnData: X (cells x features), obs (label, region, touches_border), var (names)

OME-Zarr has no tables yet. The group is an AnnData store with the attributes of a feature table of the Fractal/ngio
specification 1; ``uns/spatialdata_attrs`` tells SpatialData which labels the rows describe. The name is added to the
list last, so ngio does not find an unfinished table.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.metadata import ome_part
from bigcp3d.edge.image.open_node import find_group
from bigcp3d.edge.labels.check_target import check_group
from bigcp3d.edge.labels.made_labels import labels_id
from bigcp3d.edge.stores import platforms
from bigcp3d.edge.stores.check_writable import check_folder
from bigcp3d.edge.stores.places import Place, place, remove
from bigcp3d.edge.stores.remote import Remote
from bigcp3d.edge.stores.zarr_write import edit_attributes, edit_group, keeping_consolidated, writing
from bigcp3d.errors import InputError, TargetError
from bigcp3d.pure.boxes import Box, vec3


def table_path(labels: ImageInfo) -> Place:
    """Path of the table of ``labels/<name>``: ``tables/<name>``; `InputError` for labels outside a labels group."""
    path = place(labels.path)
    if path.parent.name != "labels":
        raise InputError(
            f"{path}: these labels lie outside a labels group, so their store has no place for a table; "
            "give a file: --output TABLE.csv"
        )
    return path.parent.parent / "tables" / path.name


def check_label_table(path: Place, *, overwrite: bool) -> None:
    """Refuse a table that cannot be written or may not be replaced.

    `InputError` where anndata is missing or nothing can ever be written, otherwise `TargetError`.
    """
    if importlib.util.find_spec("anndata") is None:
        raise InputError(
            f"{path}: a table in the store needs the package anndata, which is not installed; install it: "
            'pip install "bigcp3d[anndata]", or write a file: --output cells.csv (bigcp3d segment: --table cells.csv)'
        )
    if isinstance(path, Remote):
        path.refuse_read_only()
    else:
        check_folder(path.parent, path, cure="give a file: TABLE.csv")
    if (store := find_group(str(path.parent.parent))) is not None:
        check_group(path.parent, store.metadata.zarr_format)
    if not overwrite and path.exists():
        raise TargetError(f"{path}: there is a table already; give --overwrite to replace it, or a file: TABLE.csv")


def write_label_table(labels: ImageInfo, columns: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> Place:
    """Write or replace the table of labels in their store; returns the path of its group.

    ``columns`` have shape (n,), with one named ``label``; numbers become features (``X``), booleans and ``time``
    become observations (``obs``). ``about`` goes into the attributes.
    """
    path = table_path(labels)
    check_label_table(path, overwrite=True)
    from anndata.io import write_elem

    with writing(path), keeping_consolidated(path.parent.parent):
        tables = edit_group(path.parent, labels.zarr_format, {})
        new = path if isinstance(path, Remote) else path.with_name(f".{path.name}.partial")
        remove(new)
        # explicit, since anndata warns that its default for shards will change
        write_elem(tables, new.name, _as_anndata(columns, path.name), dataset_kwargs={"shards": None})
        ngio = {"type": "feature_table", "table_version": "1", "backend": "anndata"}
        rows = {"region": {"path": f"../labels/{path.name}"}, "instance_key": "label"}
        index = {"index_key": "label", "index_type": "int"}
        own = {"bigcp3d": {**about, "labels_id": labels_id(place(labels.path))}}
        edit_group(new, labels.zarr_format, {**ngio, **rows, **index, **own})
        if not isinstance(path, Remote):  # where there is an old table, it stays until the new one is complete
            remove(path)
            platforms.patiently(os.replace, new, path)
        edit_attributes(path.parent, labels.zarr_format, lambda old: _with_table(old, path.name))
    return path


def read_label_table(path: Place) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The columns of a table that `write_label_table` wrote, and what it said ``about`` itself."""
    from anndata.io import read_elem

    group = _open_table(path)
    table = read_elem(group)
    observed = {str(name): np.asarray(table.obs[name]) for name in table.obs.columns if name != "region"}
    features = {str(name): np.asarray(table.X[:, k], np.float64) for k, name in enumerate(table.var_names)}
    first: dict[str, NDArray[Any]] = {name: observed.pop(name) for name in ("time", "label") if name in observed}
    return {**first, **features, **observed}, dict(group.attrs.get("bigcp3d") or {})


def said_of_table(labels: ImageInfo) -> dict[str, Any] | None:
    """What our table of labels says about itself; None where there is none, or one of earlier labels of this name."""
    path = table_path(labels)
    said = _open_table(path).attrs.get("bigcp3d") if path.exists() else None
    if not isinstance(said, Mapping) or said.get("labels_id", own := labels_id(place(labels.path))) != own:
        return None
    return dict(said)


def boxes_in_table(path: Place, ids: Sequence[int], time: int) -> dict[int, Box]:
    """The boxes of some cells (ids from 1), as a table knows them; only their rows are read."""
    group = _open_table(path)
    names = [str(name) for name in group["var/_index"][...]]
    wanted = [f"box_{axis}_{end}_vox" for end in ("start", "stop") for axis in "zyx"]
    if not {*wanted} <= set(names):
        return {}
    rows, found = _find_rows(group["obs"], np.unique(np.asarray(ids, np.uint64)), time)
    ends = np.asarray(group["X"].oindex[rows, [names.index(name) for name in wanted]])
    return {int(cell): Box(vec3(row[:3]), vec3(row[3:])) for cell, row in zip(found, ends, strict=True)}


def _find_rows(observed: Any, ids: NDArray[np.uint64], time: int) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Rows of some cells, ascending ids, and the ids that were found.

    Mostly the ids are 1..n in their order, so id n is first looked for in row n - 1. Else all ids are read.
    """
    label, times = observed["label"], observed.get("time")
    guess = (ids[ids <= label.shape[0]] - 1).astype(np.intp)
    if times is None and len(guess) == len(ids) and np.array_equal(label.oindex[guess], ids):
        return guess, ids
    all_ids = np.asarray(label[...])
    here = np.isin(all_ids, ids.astype(all_ids.dtype))
    if times is not None:
        here &= np.asarray(times[...]) == time
    rows = np.flatnonzero(here)
    return rows, all_ids[rows]


def _open_table(path: Place) -> Any:
    group = find_group(str(path))
    if group is None:
        raise InputError(f"{path}: this table cannot be read; measure again: bigcp3d measure STORE --overwrite")
    return group


def _as_anndata(columns: Mapping[str, NDArray[Any]], name: str) -> Any:
    """The table as AnnData; strings have the dtype object, since anndata 0.12 cannot write those of pandas 3."""
    import pandas as pd
    from anndata import AnnData

    features = {n: c for n, c in columns.items() if n not in ("label", "time") and c.dtype != bool}
    observed = {n: c for n, c in columns.items() if n not in features and n != "label"}
    rows = columns["label"].astype(str)
    if "time" in columns:
        rows = np.char.add(np.char.add(columns["time"].astype(str), "-"), rows)
    matrix = np.empty((len(rows), len(features)))
    for k, column in enumerate(features.values()):
        matrix[:, k] = column

    def text(values: Any) -> Any:
        return pd.Index(np.asarray(values, dtype=object), dtype=object)

    region = pd.Categorical.from_codes(np.zeros(len(rows), np.int8), categories=text([name]))
    label = columns["label"]
    if len(label) == 0 or label.max() <= np.iinfo(np.int64).max:
        label = label.astype(np.int64)  # which more readers know than uint64
    obs = {"label": label, "region": region, **observed}
    return AnnData(
        matrix,
        obs=pd.DataFrame(obs, index=text(rows)),
        var=pd.DataFrame(index=text(list(features)), columns=pd.Index([], dtype="str")),  # else anndata 0.13 warns
        uns={"spatialdata_attrs": {"region": name, "region_key": "region", "instance_key": "label"}},
    )


def _with_table(attributes: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Attributes of the group of tables with the name listed."""
    listed = ome_part(attributes).get("tables", attributes.get("tables"))
    names = list(listed) if isinstance(listed, list) else []
    return {**attributes, "tables": names if name in names else [*names, name]}
