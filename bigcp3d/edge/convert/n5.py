"""Reads N5 datasets with tensorstore, which knows their codecs. N5 names axes x, y, z."""

from __future__ import annotations

import json
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
    nodes = {str(f.parent.relative_to(path)): _attributes(f) for f in sorted(path.rglob("attributes.json"))}
    found = {name: node for name, node in nodes.items() if {"dimensions", "dataType"} <= node.keys()}
    names, wanted = list(found), None if dataset is None else dataset.strip("/")
    shown = [f"{name} {node['dimensions']} (x y z) {node['dataType']}" for name, node in found.items()]
    name = names[choose_part(path, "--dataset", names, wanted, shown)]
    store = tensorstore.open({"driver": "n5", "kvstore": f"file://{(path / name).resolve()}"}).result()

    def read(part: Part) -> NDArray[Any]:
        return np.asarray(store[tuple(reversed(part))].read().result()).T

    ndim = len(store.shape)
    return Source(
        path=path,
        kind=f"dataset {name} of an N5 container",
        axes={2: "yx", 3: "zyx"}.get(ndim, UNKNOWN * ndim),
        shape=tuple(reversed(store.shape)),
        dtype=np.dtype(store.dtype.numpy_dtype),
        read=read,
        rows=int(store.chunk_layout.read_chunk.shape[1]),
        scale_um=_read_scale(found[name]),
    )


def _attributes(file: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        content = json.loads(file.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    return {}


def _read_scale(node: dict[str, Any]) -> dict[str, float]:
    """``pixelResolution`` or ``resolution`` (x, y, z) where their unit is a micrometre."""
    stated = node.get("pixelResolution") or node.get("resolution")
    unit = (stated.get("unit") if isinstance(stated, dict) else None) or (node.get("units") or [None])[0]
    sizes = stated.get("dimensions") if isinstance(stated, dict) else stated
    if not isinstance(sizes, list) or len(sizes) != 3 or unit not in ("um", "µm", "micrometer", "micron"):
        return {}
    return stated_lengths(dict(zip("xyz", map(float, sizes), strict=True)))
