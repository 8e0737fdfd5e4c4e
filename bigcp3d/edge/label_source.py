"""From labels to the image that they were made from."""

from __future__ import annotations

import logging

from bigcp3d.edge.diagnose import open_node
from bigcp3d.edge.image import ImageInfo, open_image
from bigcp3d.edge.metadata import ome_part
from bigcp3d.edge.places import follow
from bigcp3d.errors import InputError

log = logging.getLogger(__name__)


def source_image(labels: ImageInfo) -> ImageInfo | None:
    """The image that labels name as their source, or that holds them; None where there is none to be read."""
    entry = ome_part(open_node(labels.path).attrs.asdict()).get("image-label")
    source = entry.get("source") if isinstance(entry, dict) else None
    named = source.get("image") if isinstance(source, dict) else None
    path = str(follow(labels.path, str(named or "../../")))
    try:
        if "image-label" in ome_part(open_node(path).attrs.asdict()):  # a store of labels, which shows them at its root
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
