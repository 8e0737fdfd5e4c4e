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
from bigcp3d.edge.image.metadata import ome_part
from bigcp3d.edge.image.open_node import read_attributes
from bigcp3d.edge.labels.label_source import source_image
from bigcp3d.edge.stores.places import Place, place
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
    if "image-label" not in ome_part(read_attributes(info.path)):
        return ImageAndLabels(info, labels)
    source = source_image(info, image)
    if source is None:
        log.warning("%s: the image of these labels cannot be read; they are shown without it", info.path)
    return ImageAndLabels(source, labels or {place(info.path).name: info})
