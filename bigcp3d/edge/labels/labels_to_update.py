"""Opens existing labels, ours or another tool's, so that parts of them can be written again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from bigcp3d.edge.image.chunk_sizes import is_regular
from bigcp3d.edge.image.image import ImageInfo, open_labels
from bigcp3d.edge.image.metadata import own_part
from bigcp3d.edge.image.open_node import read_attributes
from bigcp3d.edge.image.same_grid import check_same_grid
from bigcp3d.edge.image.voxels import open_level
from bigcp3d.edge.labels.label_plan import LabelTarget, plan_labels
from bigcp3d.edge.stores.places import place, same_place
from bigcp3d.edge.stores.zarr_write import plain_json
from bigcp3d.errors import TargetError


def open_target(image: ImageInfo, output: str | Path | None, name: str) -> LabelTarget:
    """The existing labels ``name`` of an image, in its own store or in ``output``, with their own chunks and shards.

    `InputError` where there are none; `TargetError` where they have another shape than the image, or as `find_target`.
    """
    labels, group = _open(image.path, output, name)
    if labels.levels[0].shape != image.levels[0].shape:
        raise TargetError(
            f"{labels.path}: these labels have {labels.levels[0].shape} voxels, but the image has "
            f"{image.levels[0].shape}; give the --output and --name that segment got: {group}/labels must hold "
            "labels of the image's shape"
        )
    check_same_grid(labels, image, belong=same_place(group, image.path))
    return _in_place(labels, group, name, image.path)


def find_target(image: str | Path, output: str | Path | None, name: str) -> LabelTarget:
    """The same without opening the image, which may be gone or have changed.

    `TargetError` where the labels lie elsewhere, or their levels are stored in chunks of different sizes.
    """
    labels, group = _open(image, output, name)
    return _in_place(labels, group, name, str(place(image)))


def _open(image: str | Path, output: str | Path | None, name: str) -> tuple[ImageInfo, str]:
    """The labels, and the group that should hold them."""
    group = str(place(image if output is None else output))
    return open_labels(group, name), group


def _in_place(labels: ImageInfo, group: str, name: str, source: str) -> LabelTarget:
    """Labels of the image ``source`` as they are stored; they must be ``labels/<name>`` of the group."""
    if labels.path != f"{group}/labels/{name}":
        raise TargetError(
            f"{labels.path}: these labels do not lie in {group}/labels; give the --output and --name that segment got"
        )
    return replace(target_of(labels), image_path=source, group=group)


def target_of(labels: ImageInfo) -> LabelTarget:
    """Existing labels as they are stored; `TargetError` where levels are stored in an unusual way."""
    arrays = [open_level(labels, level) for level in range(len(labels.levels))]
    if not all(map(is_regular, arrays)):
        raise TargetError(f"{labels.path}: its chunks differ in size; write the labels again with one chunk size")
    pieces = [labels.spatial(array.shards or array.chunks) for array in arrays]
    chunk, shard = labels.spatial(arrays[0].chunks), pieces[0]
    for level, piece in zip(labels.levels, pieces, strict=True):
        if any(p not in (s, min(s, n)) for p, s, n in zip(piece, shard, level.shape, strict=True)):
            raise TargetError(
                f"{labels.path}: its levels are stored in pieces of {shard} and {piece} voxels (z, y, x); write the "
                "labels again with one chunk size at all levels"
            )
    group, _, name = labels.path.rpartition("/labels/")
    if not group:
        raise TargetError(f"{labels.path}: these labels must lie in STORE/labels/NAME; move them there")
    planned = plan_labels(labels, group, name, shard=shard)
    own = zip(planned.levels, labels.levels, strict=True)
    levels = tuple(replace(level, path=stored.path) for level, stored in own)
    planned = replace(planned, levels=levels, chunk=chunk, shard=shard)
    return replace(planned, version=labels.version, dtype=labels.dtype, axes=labels.axes)


def identify(target: LabelTarget) -> str:
    """Sha256 of the labels' attributes; it differs when the labels were replaced."""
    return hashlib.sha256(json.dumps(plain_json(read_attributes(target.path)), sort_keys=True).encode()).hexdigest()


def largest_noted(target: LabelTarget) -> int | None:
    """The largest id ever given, as the labels state it, even if its cell is gone; None where they state none.

    Labels of a run have the ids 1 to the number of its cells. Other programs state nothing. bigcp3d 0.1.0 kept no log
    of updates, and listed them here.
    """
    made = own_part(read_attributes(target.path))
    updates = made["updates"] if isinstance(made.get("updates"), list) else []
    noted = [entry.get("largest_id") for entry in (made, *updates) if isinstance(entry, dict)]
    return max((number for number in (made.get("cells"), *noted) if isinstance(number, int)), default=None)


def refuse_ids_above(target: LabelTarget, last: int) -> None:
    """`TargetError` if the labels' dtype does not hold the last new id."""
    largest = int(np.iinfo(target.dtype).max)
    if last > largest:
        raise TargetError(
            f"{target.path}: {target.dtype} holds ids up to {largest}, and the new ones go up to {last}; write the "
            "labels again with a larger integer type, or with smaller ids"
        )
