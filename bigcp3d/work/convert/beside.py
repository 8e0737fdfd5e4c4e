"""Gives functions that want an OME-Zarr image what they need when the user names a file of another format.

The image lies beside the file, under its name with ``.zarr``. It is converted once, and used again while the file stays
as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bigcp3d.edge.convert.open_source import open_source, stamp
from bigcp3d.edge.image.image import check_labels, open_image
from bigcp3d.edge.image.metadata import own_part
from bigcp3d.edge.image.open_node import metadata_file, read_attributes
from bigcp3d.edge.image.other_formats import recognise, store_beside
from bigcp3d.edge.stores.places import place
from bigcp3d.edge.stores.zarr_write import edit_attributes
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Float3, float3
from bigcp3d.work.analyse.blocks_read import BlocksRead
from bigcp3d.work.convert.convert import convert

log = logging.getLogger(__name__)


def find_converted(source: str | Path) -> tuple[str | Path, bool]:
    """The image to open for a source, and whether it must be converted first.

    The source itself, unless it is a file or a folder that can be converted; then the store beside it. `InputError`
    where that store was not made from the file as it is now.
    """
    spot = place(source)
    if not isinstance(spot, Path) or not spot.exists() or metadata_file(spot) or recognise(spot)[0] is None:
        return source, False
    beside = store_beside(spot)
    if not beside.exists():
        return beside, True
    if not _made_from(beside, spot):
        raise InputError(
            f"{spot}: this is not an OME-Zarr folder. {beside} exists, but was converted from another file or an "
            f"earlier version of this one; give {beside} itself, or convert the file to another place: bigcp3d "
            f"convert {spot} OUT.zarr"
        )
    return beside, False


def convert_beside(
    source: str | Path,
    *,
    scale_um: tuple[float, float, float] | None = None,
    on_event: Callable[[BlocksRead], None] | None = None,
    tell: Callable[[str], None] = log.warning,
) -> str | Path:
    """The image of a source, converted beside it if it is not there yet, and told. The source itself if it is a store.

    ``scale_um`` is the voxel size, for files that do not say it.
    """
    image, missing = find_converted(source)
    if missing:
        tell(f"{source} is no OME-Zarr folder; it is converted once, to {image}")
        convert(source, image, scale_um=scale_um, on_event=on_event)
    elif image != source:
        tell(f"{source} was converted earlier; taking {image}")
    return image


def convert_labels_beside(source: str | Path, scale_um: Float3 | None) -> str | Path:
    """The store of labels in a file of another format, as `convert_beside`.

    Where the file does not state the voxel size, that of the image of the labels is taken, ``scale_um``, and told. A
    new store says that it holds labels, so that no command takes it for an image.
    """
    missing = find_converted(source)[1]
    if scale_um is not None and missing:
        with open_source(source) as opened:
            stated = opened.scale_um
        if lacks := [axis for axis in "zyx" if axis not in stated]:
            taken = "that of the image is taken"
            log.warning("%s does not state its voxel size along %s; %s", source, ", ".join(lacks), taken)
        scale_um = float3(stated.get(axis, size) for axis, size in zip("zyx", scale_um, strict=True))
    store = convert_beside(source, scale_um=scale_um)
    if missing:
        made = check_labels(open_image(store))
        said = {"image-label": {"version": made.version}}
        edit_attributes(place(store), made.zarr_format, lambda old: {**old, "ome": {**old["ome"], **said}})
    return store


def _made_from(store: Path, file: Path) -> bool:
    """Whether a store says that it was converted from this very file: same name, size and time of the last change."""
    try:
        source: Any = own_part(read_attributes(store)).get("source")
    except InputError:
        return False
    if not isinstance(source, dict):
        return False
    try:
        now = stamp(file, source.get("dataset"))
    except OSError:  # the dataset is gone
        return False
    return {name: source.get(name) for name in now} == now
