"""Reads datasets of HDF5 files with h5py. PlantSeg's voxel size and ilastik's axes are understood."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.convert.source import UNKNOWN, Part, Source, choose_part, stated_lengths
from bigcp3d.errors import InputError


def open_hdf5(path: Path, dataset: str | None) -> Source:
    """One dataset; `InputError` lists them where there are several and none is named."""
    file = open_file(path)
    try:
        found: dict[str, h5py.Dataset] = {}
        file.visititems(lambda name, node: found.update({name: node}) if _is_volume(node) else None)
        names, wanted = list(found), None if dataset is None else dataset.strip("/")
        shown = [f"{name} {node.shape} {node.dtype}" for name, node in found.items()]
        node = found[names[choose_part(path, "--dataset", names, wanted, shown)]]
        return _describe(path, file, node)
    except BaseException:
        file.close()
        raise


def open_file(path: Path) -> h5py.File:
    """The file, for reading. Where hdf5plugin is installed, its filters are known from now on."""
    with suppress(ImportError):
        import hdf5plugin  # noqa: F401
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: this HDF5 file cannot be read: {error}; write it again") from error


def check_filters(path: Path, node: h5py.Dataset) -> None:
    """Refuse a dataset that was packed with a filter which is missing here."""
    properties = node.id.get_create_plist()
    for code, _, _, name in map(properties.get_filter, range(properties.get_nfilters())):
        if not h5py.h5z.filter_avail(code):
            words = name.decode("utf-8", "replace").split(";")[0] or "without a name"
            raise InputError(
                f"{path}: {node.name} is packed with the HDF5 filter {code} ({words}), for which a package is missing; "
                "install it: pip install 'bigcp3d[codecs]', or save the file with gzip or without compression"
            )


def _is_volume(node: Any) -> bool:
    return isinstance(node, h5py.Dataset) and 2 <= node.ndim <= 5 and node.dtype.kind in "biufc"


def _describe(path: Path, file: h5py.File, node: h5py.Dataset) -> Source:
    check_filters(path, node)
    axes = _read_axes(node)
    size = np.ravel(node.attrs.get("element_size_um", ()))  # PlantSeg: z, y, x

    def read(part: Part) -> NDArray[Any]:
        return np.asarray(node[part])

    at = axes.find("y") if "y" in axes else node.ndim - 2
    return Source(
        path=path,
        kind=f"dataset {node.name} of an HDF5 file",
        axes=axes,
        shape=node.shape,
        dtype=node.dtype,
        read=read,
        rows=node.chunks[at] if node.chunks else 1,
        scale_um=stated_lengths(dict(zip("zyx", size, strict=True))) if len(size) == 3 else {},
        dataset=node.name.strip("/"),
        close=file.close,
    )


def _read_axes(node: h5py.Dataset) -> str:
    """Axes by ilastik's tags or the labels of dimensions; z, y, x of a dataset of three without them."""
    with suppress(ValueError, KeyError, TypeError):
        tags = json.loads(node.attrs["axistags"])["axes"]
        return "".join(tag["key"] if tag["key"] in "tczyx" else UNKNOWN for tag in tags)
    labels = [str(dim.label).lower() for dim in node.dims]
    if all(label in ("t", "c", "z", "y", "x") for label in labels):
        return "".join(labels)
    return {2: "yx", 3: "zyx"}.get(len(node.shape), UNKNOWN * len(node.shape))
