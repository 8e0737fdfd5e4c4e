"""Which image and which labels belong together, whichever of them was given: what a viewer shows.

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
from typing import Any

from bigcp3d.edge.image.diagnose import open_node
from bigcp3d.edge.image.image import ImageInfo, open_image, open_labels
from bigcp3d.edge.image.metadata import ome_part
from bigcp3d.edge.labels.label_source import source_image
from bigcp3d.edge.stores.places import Place, place
from bigcp3d.errors import InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Together:
    """An image and its labels.

    Attributes
    ----------
    image : ImageInfo or None
        None where labels name a source that is not there.
    labels : dict of str to ImageInfo
        By name, in the order of the list: those finished last come last.
    """

    image: ImageInfo | None
    labels: Mapping[str, ImageInfo]


def open_together(path: str | Place, image: str | Place | None = None) -> Together:
    """Image and labels that belong to a store; metadata only.

    Parameters
    ----------
    path : str, Path or Remote
        An image group, a store of labels, or a labels group.
    image : str, Path or Remote, optional
        The image of labels, where they name none that is read unasked (`source_image`).

    Raises
    ------
    InputError
        Where the path is none of these.
    """
    info = open_image(path)
    labels = {name: found for name in info.label_names if (found := _tolerant(path, name)) is not None}
    if "image-label" not in ome_part(attributes_of(info.path)):
        return Together(info, labels)
    source = source_image(info, image)
    if source is None:
        log.warning("%s: the image of these labels cannot be read; they are shown without it", info.path)
    return Together(source, labels or {place(info.path).name: info})


def attributes_of(path: str | Place) -> dict[str, Any]:
    """Attributes of a zarr node; `InputError` where there is none."""
    return dict(open_node(str(place(path))).attrs.asdict())


def _tolerant(path: str | Place, name: str) -> ImageInfo | None:
    """Labels; None, with a word in the log, where they cannot be opened: the rest can be shown without them."""
    try:
        return open_labels(path, name)
    except InputError as error:
        log.warning("not shown: %s", error)
        return None
