"""Finds the image that labels were made from."""

from __future__ import annotations

import logging

from bigcp3d.edge.image.image import ImageInfo, open_image
from bigcp3d.edge.image.metadata import ome_part
from bigcp3d.edge.image.open_node import read_attributes
from bigcp3d.edge.stores.places import Place, follow, place
from bigcp3d.edge.stores.remote import Remote
from bigcp3d.errors import InputError

log = logging.getLogger(__name__)


def source_image(labels: ImageInfo, image: str | Place | None = None) -> ImageInfo | None:
    """The image that the user names, or that labels name as their source, or that holds them; None if unreadable.

    Labels may come from a stranger, so an address that they name is opened only if the labels are on the same server
    or in the same bucket. No other server gets a request with the user's signature.
    """
    if image is not None:
        return open_image(image)
    entry = ome_part(read_attributes(labels.path)).get("image-label")
    source = entry.get("source") if isinstance(entry, dict) else None
    named = source.get("image") if isinstance(source, dict) else None
    found, own = follow(labels.path, str(named or "../../")), place(labels.path)
    if isinstance(found, Remote) and not (isinstance(own, Remote) and own.root == found.root):
        log.warning("%s: the image %s on another server is not opened; give --image to read it", own, found)
        return None
    path = str(found)
    try:
        if "image-label" in ome_part(read_attributes(path)):  # the root of a store of labels, not an image
            return None
        return open_image(path)
    except InputError as error:
        log.info("%s: its image cannot be read: %s", labels.path, error)
        return None


def matching_level(labels: ImageInfo, image: ImageInfo) -> int | None:
    """The image's level with the shape of the labels, or None."""
    shapes = [level.shape for level in image.levels]
    shape = labels.levels[0].shape
    return shapes.index(shape) if shape in shapes and image.times == labels.times else None
