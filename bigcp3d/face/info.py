"""What a store is, in words, and what is wrong with it; what the shipped models are.

Only metadata is read here, never a voxel, so that a store of terabytes answers at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bigcp3d.errors import BigCP3DError
from bigcp3d.face.pace import format_count
from bigcp3d.pure.memory import in_words

if TYPE_CHECKING:
    from bigcp3d.edge.image import ImageInfo, Level
    from bigcp3d.edge.models import ModelCard

COMMON_DTYPES = ("uint8", "uint16", "uint32", "int16", "int32", "float32", "float64")


def describe_image(path: str | Path) -> str:
    """Version, axes, channels, levels, chunks, dtype and labels of an OME-Zarr image, and what is wrong with it.

    Parameters
    ----------
    path : str or Path
        An OME-Zarr image group.

    Returns
    -------
    text : str
        Several lines, the last of which are warnings.

    Raises
    ------
    InputError
        Where the store cannot be used at all.
    """
    from bigcp3d.edge.image import open_image, open_labels

    image = open_image(path)
    voxels = math.prod(image.levels[0].shape)
    size_bytes = voxels * image.channels * image.times * np.dtype(image.dtype).itemsize
    channels = _plural(image.channels, "channel")
    if image.channel_names:
        channels += ": " + ", ".join(f"{i} {name}" for i, name in enumerate(image.channel_names))
    lines = [
        f"OME-Zarr {image.version} (zarr {image.zarr_format}), axes {','.join(image.axes)}, {image.dtype}",
        f"{format_count(voxels, 'voxel')} a channel and time, {in_words(size_bytes)} uncompressed at level 0",
        f"{_plural(image.times, 'time')}, {channels}",
    ]
    lines += [f"level {i}: {_describe_level(image, level)}" for i, level in enumerate(image.levels)]
    for name in image.label_names:
        try:
            labels = open_labels(path, name)
        except BigCP3DError as error:
            lines.append(f"labels/{name}: cannot be read: {error}")
        else:
            levels = _plural(len(labels.levels), "level")
            lines.append(f"labels/{name}: {labels.dtype}, {levels}, {_by(labels.levels[0].shape)}")
    return "\n  ".join([image.path, *lines, *(f"warning: {text}" for text in find_faults(image))])


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("s" if count != 1 else "")


def _by(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:.6g}" for value in values)


def _describe_level(image: ImageInfo, level: Level) -> str:
    import zarr

    array = zarr.open_array(f"{image.path}/{level.path}", mode="r")
    stored = f"chunks {_by(array.chunks)}" + (f" in shards {_by(array.shards)}" if array.shards else "")
    scale = f"voxel {_by(level.scale_um)} um" if level.scale_um else "no scale"
    return f"{level.path!r}, {_by(level.shape)} (z y x), {scale}, {stored}"


def find_faults(image: ImageInfo) -> Iterator[str]:
    """What a user should know before a run: each fault with its cure.

    Yields
    ------
    fault : str
        One sentence.
    """
    finest = image.levels[0]
    if finest.scale_um is None:
        yield "the store does not say its voxel size; give --scale Z Y X (micrometres) where --diameter is used"
    elif set(finest.scale_um) == {1.0}:
        yield "every scale is exactly 1, which often means that it was never set; check it, or give --scale Z Y X"
    if image.times > 1:
        yield f"{image.times} time points; each is segmented for itself, nothing is linked over time"
    if image.dtype not in COMMON_DTYPES:
        yield f"unusual dtype {image.dtype}"
    for lower, upper in zip(image.levels, image.levels[1:], strict=False):
        if any(b > a for a, b in zip(lower.shape, upper.shape, strict=True)):
            yield f"level {upper.path!r} is larger than level {lower.path!r}, which comes before it"
        elif lower.scale_um and upper.scale_um and not _scales_agree(lower, upper):
            yield f"scale and shape disagree between levels {lower.path!r} and {upper.path!r}"


def _scales_agree(lower: Level, upper: Level) -> bool:
    """Whether two levels span about the same space: within a voxel of the coarser one."""
    if lower.scale_um is None or upper.scale_um is None:
        return True
    pairs = zip(lower.shape, lower.scale_um, upper.shape, upper.scale_um, strict=True)
    return all(abs(n * a - m * b) <= 1.01 * b for n, a, m, b in pairs)


def describe_model(name: str, path: Path, card: ModelCard) -> str:
    """A model's card, one field a line."""
    size = in_words(path.stat().st_size)
    fields = card.model_dump()
    fields.pop("name", None)
    width = max(map(len, fields))
    return "\n".join([f"{name}  ({path}, {size})"] + [f"  {key:<{width}}  {value}" for key, value in fields.items()])
