"""Where a file about a store goes: beside the outermost store, never inside one."""

from __future__ import annotations

from pathlib import Path

from bigcp3d.edge.stores.check_writable import store_around
from bigcp3d.edge.stores.zarr_write import is_group


def beside_store(inner: str | Path, ending: str) -> Path:
    """The file about a group, which need not exist yet; its name is made of the names of all folders on the way.

    ``/data/embryo.zarr/labels/cells`` and ``.csv`` give ``/data/embryo.cells.csv``, and the group ``A/1/0`` of a plate
    ``/data/plate.A.1.0.csv``.
    """
    inner = Path(inner).absolute()
    words, folder, store = [inner.name.removesuffix(".zarr")], inner.parent, store_around(inner)
    while is_group(folder) or (store is not None and folder.is_relative_to(store)):
        if folder.name != "labels":
            words.insert(0, folder.name.removesuffix(".zarr"))
        folder = folder.parent
    return folder / f"{'.'.join(words)}{ending}"
