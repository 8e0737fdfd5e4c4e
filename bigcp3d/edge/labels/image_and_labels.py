"""Finds the image and the labels that belong together, from the path of either.

::

    given                        image                         labels
    an image                     itself                        those in its list
    a store from ``--output``    that of image-label.source    those in its list
    one labels group             that of image-label.source    itself
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from bigcp3d.edge.image.image import ImageInfo, open_image, open_labels
from bigcp3d.edge.image.metadata import is_labels, ome_part
from bigcp3d.edge.image.open_node import read_attributes
from bigcp3d.edge.image.same_grid import find_level
from bigcp3d.edge.stores.places import Place, follow, place, same_place
from bigcp3d.edge.stores.remote import Remote
from bigcp3d.errors import InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageAndLabels:
    """An image (None where it cannot be read) and its labels by name, the last finished last."""

    image: ImageInfo | None
    labels: Mapping[str, ImageInfo]


def open_image_and_labels(path: str | Place, image: str | Place | None = None) -> ImageAndLabels:
    """Image and labels that belong to a path; only metadata are read. `InputError` where it is neither.

    ``image`` is the image of labels, where they do not name one that may be opened (`source_image`).
    """
    info, labels = open_image(path), {}
    for name in info.label_names:
        try:
            labels[name] = open_labels(path, name)
        except InputError as error:
            log.warning("not shown: %s", error)
    if not is_labels(read_attributes(info.path)):
        return ImageAndLabels(info, labels)
    source = source_image(info, image)
    if source is None:
        log.warning("%s: the image of these labels cannot be read; they are shown without it", info.path)
    return ImageAndLabels(source, labels or {place(info.path).name: info})


def source_image(labels: ImageInfo, image: str | Place | None = None) -> ImageInfo | None:
    """The image that the user names, or that labels name as their source, or that holds them; None if unreadable.

    Labels may come from a stranger, so an address that they name is opened only if the labels are on the same server
    or in the same bucket. No other server gets a request with the user's signature.
    """
    if image is not None:
        return open_image(image)
    found = _named_image(labels)
    if _elsewhere(labels, found):
        log.warning("%s: the image %s on another server is not opened; give --image to read it", labels.path, found)
        return None
    try:
        if is_labels(read_attributes(found)):  # the root of a store of labels, not an image
            return None
        return open_image(found)
    except InputError as error:
        log.info("%s: its image cannot be read: %s", labels.path, error)
        return None


def needs_no_name(labels: ImageInfo, image: ImageInfo) -> bool:
    """Whether `source_image` opens this image of some labels if the user names none."""
    named = _named_image(labels)
    return same_place(named, image.path) and not _elsewhere(labels, named)


def _named_image(labels: ImageInfo) -> Place:
    """Where the image lies that labels name, or that holds them."""
    entry = ome_part(read_attributes(labels.path)).get("image-label")
    source = entry.get("source") if isinstance(entry, dict) else None
    named = source.get("image") if isinstance(source, dict) else None
    return follow(labels.path, str(named or "../../"))


def _elsewhere(labels: ImageInfo, image: Place) -> bool:
    """Whether an image lies on another server than its labels."""
    own = place(labels.path)
    return isinstance(image, Remote) and not (isinstance(own, Remote) and own.root == image.root)


def matching_level(labels: ImageInfo, image: ImageInfo) -> int | None:
    """The image's level with the shape of the labels, or None."""
    return find_level(labels.levels[0].shape, image) if image.times == labels.times else None
