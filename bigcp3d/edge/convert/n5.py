"""Reads N5 datasets with tensorstore, which knows their codecs. N5 names axes x, y, z."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.convert.source import UNKNOWN, Part, Source, choose_part, stated_lengths
from bigcp3d.errors import InputError


def open_n5(path: Path, dataset: str | None) -> Source:
    """One dataset; `InputError` lists them where there are several and none is named."""
    try:
        import tensorstore
    except ImportError as error:
        raise InputError(f"{path}: N5 is read with tensorstore; install it: pip install tensorstore") from error
    found = dict(sorted(_find_datasets(path)))
    names, wanted = list(found), None if dataset is None else dataset.strip("/")
    shown = [f"{name} {node['dimensions']} (x y z) {node['dataType']}" for name, node in found.items()]
    name = names[choose_part(path, "--dataset", names, wanted, shown)]
    store = tensorstore.open({"driver": "n5", "kvstore": f"file://{(path / name).resolve()}"}).result()

    def read(part: Part) -> NDArray[Any]:
        return np.asarray(store[tuple(reversed(part))].read().result()).T

    ndim = len(store.shape)
    scale_um, notes = _read_scale(path / name, found[name])
    return Source(
        path=path,
        kind=f"dataset {name} of an N5 container",
        axes={2: "yx", 3: "zyx"}.get(ndim, UNKNOWN * ndim),
        shape=tuple(reversed(store.shape)),
        dtype=np.dtype(store.dtype.numpy_dtype),
        read=read,
        rows=int(store.chunk_layout.read_chunk.shape[1]),
        scale_um=scale_um,
        notes=notes,
        dataset=name,
    )


def _find_datasets(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and attributes of all datasets. What lies below a dataset are blocks, which may be millions."""
    for folder, inside, _ in os.walk(path):
        node = _attributes(Path(folder))
        if "dimensions" in node:
            inside.clear()
            if "dataType" in node:
                yield str(Path(folder).relative_to(path)), node


def _attributes(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        content = json.loads((folder / "attributes.json").read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    return {}


def _read_scale(folder: Path, node: dict[str, Any]) -> tuple[dict[str, float], tuple[str, ...]]:
    """Voxel size of a dataset, and what to tell the user.

    A coarser level has ``downsamplingFactors``. Most programs give it the voxel size of the finest level, s0. But some
    give it its own voxel size, in which the factors are contained; then it differs from that of s0.
    """
    size, factors = _read_size(node), _by_axis(node.get("downsamplingFactors", [1, 1, 1]))
    finest = _read_size(_attributes(folder.parent / "s0"))
    own = any(not math.isclose(size[axis], finest[axis], rel_tol=0.01) for axis in size.keys() & finest.keys())
    if own or list(factors.values()) == [1, 1, 1]:
        return size, ()
    scale = {axis: size[axis] * factors[axis] for axis in size.keys() & factors.keys()}
    shown = ", ".join(f"{axis} {factor:g}" for axis, factor in factors.items())
    note = f"its voxel size is taken as its resolution times its downsamplingFactors ({shown}); if not, give --scale"
    return scale, (note,) if scale else ()


def _read_size(node: dict[str, Any]) -> dict[str, float]:
    """``pixelResolution`` or ``resolution`` (x, y, z) where their unit is a micrometre."""
    stated = node.get("pixelResolution") or node.get("resolution")
    unit = (stated.get("unit") if isinstance(stated, dict) else None) or (node.get("units") or [None])[0]
    sizes = stated.get("dimensions") if isinstance(stated, dict) else stated
    return _by_axis(sizes) if unit in ("um", "µm", "micrometer", "micron") else {}


def _by_axis(values: Any) -> dict[str, float]:
    """Three numbers above 0, in the order x, y, z."""
    if not isinstance(values, list) or len(values) != 3:
        return {}
    return stated_lengths(dict(zip("xyz", map(float, values), strict=True)))
