"""Opens true labels wherever they lie: named labels of an image, an image whose voxels are ids, or a plain zarr array.

::

    image.zarr          labels/NAME of it; or, if it has no labels at all, its own voxels
    labels group        itself
    array.zarr          a zarr array with axes z,y,x, or those of its dimension_names
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import zarr

from bigcp3d.edge.image.chunk_names import check_chunk_names
from bigcp3d.edge.image.image import ImageInfo, Level, check_labels, label_names, open_image, open_labels
from bigcp3d.edge.image.metadata import first_multiscale, is_labels, read_axes
from bigcp3d.edge.image.open_node import find_node, open_node
from bigcp3d.edge.stores.axis_order import spatial
from bigcp3d.edge.stores.codecs import MissingCodecError, check_codecs
from bigcp3d.edge.stores.places import Place, is_address, place
from bigcp3d.errors import InputError

log = logging.getLogger(__name__)


def open_truth(path: str | Place, name: str) -> ImageInfo:
    """True labels; `InputError` where there are none, or they are not integers.

    A warning says when an image's own voxels are taken.
    """
    where = str(place(path))
    node = open_node(where)
    if isinstance(node, zarr.Array):
        try:
            check_codecs(node)
        except MissingCodecError as error:
            raise InputError(f"{where}: {error}") from error
        return check_labels(_describe_array(node, where))
    attributes = node.attrs.asdict()
    plain = first_multiscale(attributes, where) is not None and not is_labels(attributes)
    if not plain or label_names(where, node) or find_node(f"{where}/labels/{name}") is not None:
        return open_labels(path, name)
    image = open_image(path)
    try:
        labels = check_labels(image)
    except InputError as error:
        raise InputError(f"{where}: there are no labels {name!r}, and its own voxels cannot be ids: {error}") from error
    log.warning("%s: it holds no labels, so its own voxels are taken as the ids of the true cells", where)
    return labels


def is_truth_elsewhere(name: str) -> bool:
    """Whether the name of labels is the path of another store or of a file, in which the truth lies."""
    path = Path(name).expanduser()
    return is_address(name) or path.suffix == ".zarr" or path.is_file() or ("/" in name and path.exists())


def _describe_array(array: zarr.Array[Any], where: str) -> ImageInfo:
    """A zarr array as labels without a voxel size."""
    names = getattr(array.metadata, "dimension_names", None)
    if array.ndim != 3 and not (names and all(names)):
        raise InputError(
            f"{where}: this zarr array has the shape {array.shape} and does not name its axes; give labels with axes "
            "z,y,x, or as OME-Zarr"
        )
    named = {"axes": list(names) if names and all(names) else ["z", "y", "x"]}
    axes = read_axes(named, "0.4", None, array.ndim, where)
    if isinstance(spot := place(where), Path):
        check_chunk_names(array, spot)
    lengths = dict(zip(axes, array.shape, strict=True))
    return ImageInfo(
        path=where,
        version="0.5" if array.metadata.zarr_format == 3 else "0.4",
        zarr_format=int(array.metadata.zarr_format),
        axes=axes,
        levels=(Level("", spatial(axes, array.shape), None, (0.0, 0.0, 0.0)),),
        dtype=array.dtype.newbyteorder("=").name,
        channels=lengths.get("c", 1),
        times=lengths.get("t", 1),
        channel_names=(),
        label_names=(),
    )
