"""Writes a lineage into the OME-Zarr store as GEFF, the Graph Exchange File Format, with its own package.

::

    <group>/labels/cells
    <group>/tracks/cells.geff     nodes: a cell at a time point; edges: a cell and what became of it

The GEFF format does not say where in a store it belongs. `related_objects` in its metadata names the labels to which
the nodes belong.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.stores.new_store import check_new_store, partial_of, put_in_place
from bigcp3d.edge.stores.places import Place, place, remove
from bigcp3d.edge.stores.zarr_write import edit_group, is_group, keeping_consolidated, writing
from bigcp3d.errors import InputError

NEEDED = ("geff", "ortools")
"""Packages of the extra ``lineage``."""


def lineage_path(labels: ImageInfo) -> Place:
    """Path of the lineage of ``labels/<name>``: ``tracks/<name>.geff``."""
    path = place(labels.path)
    if path.parent.name != "labels":
        raise InputError(
            f"{path}: these labels lie outside a labels group, so their store has no place for a lineage; "
            "move them to STORE/labels/NAME"
        )
    return path.parent.parent / "tracks" / f"{path.name}.geff"


def check_lineage(labels: ImageInfo, *, overwrite: bool) -> Path:
    """The path of the lineage; `InputError` where a package is missing, `TargetError` for a path that is taken."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise InputError(
            f'a lineage needs {" and ".join(missing)}, not installed here; install them: pip install "bigcp3d[lineage]"'
        )
    path = lineage_path(labels)
    if not isinstance(path, Path):
        raise InputError(
            f"{path}: a lineage can only be written to a local store; copy the labels to this machine, "
            "link them, and copy the lineage back"
        )
    if path.exists() or path.parent.exists():
        check_new_store(path, overwrite=overwrite)
    return path


def write_lineage(
    path: Path,
    labels: ImageInfo,
    nodes: Mapping[str, NDArray[Any]],
    edges: NDArray[np.int64],
    edge_columns: Mapping[str, NDArray[Any]],
    about: Mapping[str, Any],
) -> None:
    """Write or replace a lineage.

    ``nodes`` has ``t``, ``z``, ``y``, ``x`` (micrometres, or voxels without a scale) and other columns of shape (n,);
    node ids are 0 to n - 1. ``edges`` (m, 2) are node ids, parent first; ``edge_columns`` have shape (m,).
    """
    from geff import GeffMetadata
    from geff.core_io import write_arrays

    unit = "micrometer" if labels.levels[0].scale_um is not None else "pixel"
    space = [{"name": axis, "type": "space", "unit": unit} for axis in "zyx"]
    metadata = GeffMetadata(
        directed=True,
        axes=[{"name": "t", "type": "time", "unit": "frame"}, *space],
        node_props_metadata={},
        edge_props_metadata={},
        track_node_props={"tracklet": "track"},
        related_objects=[{"type": "labels", "path": f"../../labels/{place(labels.path).name}", "label_prop": "label"}],
        extra={"bigcp3d": dict(about)},
    )
    with writing(path), keeping_consolidated(path.parent.parent):
        if not is_group(path.parent):
            edit_group(path.parent, labels.zarr_format, {})
        partial = partial_of(path)
        remove(partial)
        write_arrays(
            str(partial),
            np.arange(len(nodes["t"]), dtype=np.uint64),
            {name: {"values": values, "missing": None} for name, values in nodes.items()},
            edges.astype(np.uint64),
            {name: {"values": values, "missing": None} for name, values in edge_columns.items()},
            metadata,
            zarr_format=3 if labels.zarr_format == 3 else 2,
        )
        put_in_place(partial, path)
