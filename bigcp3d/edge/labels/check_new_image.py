"""Checks before any work that a new image can be written to its place, and that it replaces nothing but an image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import zarr

from bigcp3d.edge.image.image import ImageInfo, open_image
from bigcp3d.edge.image.metadata import own_part
from bigcp3d.edge.image.open_node import find_node, metadata_file, read_attributes
from bigcp3d.edge.labels.edit_log import EditLog
from bigcp3d.edge.stores.new_store import check_new_store
from bigcp3d.errors import InputError, TargetError

INSIDE = ("labels", "tables", "tracks")
"""Names in an image group of groups that belong to the image."""


def check_new_image(where: Path, *, overwrite: bool) -> None:
    """Raise `TargetError` for a place where no image can be written, or where one would delete more than an image.

    ``overwrite`` allows an image that holds nothing but its levels, and labels that were simulated with it.
    """
    check_new_store(where, overwrite=overwrite)
    nodes = [parent for parent in where.parents if metadata_file(parent) is not None]
    if array := next((node for node in nodes if isinstance(find_node(str(node)), zarr.Array)), None):
        raise TargetError(f"{where}: it lies inside the zarr array {array}; give a path outside it")
    if where.name in INSIDE and where.parent in nodes:
        raise TargetError(f"{where}: this is the place for the {where.name} of {where.parent}; give another path")
    if not os.path.exists(where):
        return
    try:
        image = open_image(where)
    except InputError as error:
        raise TargetError(
            f"{where}: --overwrite replaces a single image, and this is none; give another path ({error})"
        ) from error
    if held := list(_more_than_levels(where, image)):
        raise TargetError(
            f"{where}: it holds {', '.join(held)}, which --overwrite would delete; give another path, or move the "
            "store away"
        )


def _more_than_levels(where: Path, image: ImageInfo) -> Iterator[str]:
    """Folders in an image group that are not a level of the image, and hold something that is worth keeping."""
    levels = {level.path.split("/")[0] for level in image.levels}
    for folder in sorted(child for child in where.iterdir() if child.is_dir() and child.name not in levels):
        inside = [child for child in folder.iterdir() if child.is_dir()]
        if folder.name == "labels":
            inside = [child for child in inside if not _is_simulated(child)]
        if inside or folder.name not in INSIDE:
            yield folder.name


def _is_simulated(labels: Path) -> bool:
    """Whether labels were simulated with their image, and nobody has corrected them."""
    try:
        made = own_part(read_attributes(labels))
    except InputError:
        return False
    return made.get("command") == "simulate" and not EditLog(labels).by_hand()
