"""Makes a layer of an image as the network sees it after ``--prepare``. Voxels are computed when the viewer asks.

A viewer sees an OME-Zarr group of uncompressed chunks of float32. Nothing is written. Filters see the whole image
around a chunk, so the chunks fit together.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.preparation import parse_preparation, steps_of
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.errors import InputError
from bigcp3d.face.pictures.plane_drawing import find_contrast
from bigcp3d.face.view.scene import Images, Prepare, Scene, sampled_level
from bigcp3d.face.view.served_objects import ServedGroup, group_metadata_of
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3
from bigcp3d.pure.predict.normalise import estimate_range, sample_boxes, scale_intensity
from bigcp3d.pure.prepare.prepare_box import prepare_box
from bigcp3d.pure.prepare.steps import margin_of

CHUNK = 64
WIDEST_MARGIN = 64
"""Levels on which filters see more voxels around a chunk would take too long, and are left out but for the last."""
PERCENTILES = (1.0, 99.8)
"""The intensities that filters see as 0 and 1; models have about the same."""

Limits = tuple[float, float]


def with_prepared(scene: Scene, text: str, scale_um: tuple[float, float, float] | None = None) -> Scene:
    """The scene with its image prepared by the filters of ``text``, in a layer for each channel."""
    if not scene.images or not parse_preparation(text):
        raise InputError(f"{scene.title}: there is no image, or no filter in {text!r}; leave out --prepare")
    images = scene.images[0]
    info, sampled = images.info, sampled_level(images.info)
    boxes = sample_boxes(info.levels[sampled].shape)
    limits = [
        estimate_range([read_box(info, sampled, box, channel=channel) for box in boxes], *PERCENTILES)
        for channel in range(info.channels)
    ]
    prepare = partial(_prepare, info, text, scale_um, limits)
    fine = [i for i in range(len(info.levels)) if max(_margin(info, text, scale_um, i)) <= WIDEST_MARGIN]
    kept = fine or [len(info.levels) - 1]
    channels = []
    for channel in images.channels:
        shape = info.levels[sampled].shape
        margin = _margin(info, text, scale_um, sampled)
        sample = [prepare(sampled, box, channel.index, 0) for box in sample_boxes(shape, margin)]
        low, high = find_contrast(sample)
        channels.append(replace(channel, name=f"{channel.name}, {text}", low=low, high=high, visible=False))
    several = {"t": info.times > 1, "c": True, "z": True, "y": True, "x": True}
    shown = replace(
        info,
        path=f"{info.path} {text}",
        zarr_format=3,
        axes=tuple(axis for axis, there in several.items() if there),
        dtype="float32",
        levels=tuple(replace(info.levels[level], path=str(level)) for level in kept),
    )
    served = ServedGroup({"": PreparedChunks(shown, prepare)}, {**group_metadata_of(shown), **_arrays(shown)})
    return replace(scene, images=(*scene.images, Images(shown, tuple(channels), served, prepare)))


def _margin(info: ImageInfo, text: str, scale_um: tuple[float, float, float] | None, level: int) -> Vec3:
    return margin_of(steps_of(text, info, level, scale_um), info.levels[level].shape)


def _prepare(
    info: ImageInfo,
    text: str,
    scale_um: tuple[float, float, float] | None,
    limits: list[Limits],
    level: int,
    box: Box,
    channel: int,
    time: int,
) -> NDArray[np.float32]:
    def read(grown: Box) -> NDArray[np.float32]:
        return scale_intensity(read_box(info, level, grown, channel=channel, time=time), *limits[channel], bad=0.0)

    return prepare_box(read, box, info.levels[level].shape, steps_of(text, info, level, scale_um))


@dataclass(frozen=True)
class PreparedChunks:
    """The chunks of a prepared image, by their key: ``LEVEL/c/T/C/Z/Y/X``, without T where there is one time point."""

    info: ImageInfo
    prepare: Prepare

    def size(self, key: str) -> int | None:
        """Bytes of a chunk; None for any other key."""
        return None if self._find(key) is None else 4 * CHUNK**3

    def read(self, key: str, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` of a chunk."""
        found = self._find(key)
        return b"" if found is None else _chunk(self, *found)[start:stop]

    def _find(self, key: str) -> tuple[int, Box, int, int] | None:
        match = re.fullmatch(r"(\d{1,4})/c((?:/\d{1,9}){4,5})", key)
        levels = {level.path: level for level in self.info.levels}
        if match is None or match[1] not in levels:
            return None
        numbers = [int(number) for number in match[2].split("/")[1:]]
        if len(numbers) != len(self.info.axes):
            return None
        *time, channel, z, y, x = numbers
        grid = BlockGrid(levels[match[1]].shape, (CHUNK,) * 3)
        if channel >= self.info.channels or any(n >= m for n, m in zip((z, y, x), grid.counts, strict=True)):
            return None
        return (int(match[1]), grid.core((z, y, x)), channel, time[0] if time else 0)


@lru_cache(maxsize=256)
def _chunk(chunks: PreparedChunks, level: int, box: Box, channel: int, time: int) -> bytes:
    whole = np.zeros((CHUNK,) * 3, "<f4")
    whole[Box.of_shape(box.shape).slices()] = chunks.prepare(level, box, channel, time)
    return whole.tobytes()


def _arrays(info: ImageInfo) -> dict[str, bytes]:
    """Metadata of the array of each level."""
    instead = {}
    for level in info.levels:
        before = [*([info.times] if "t" in info.axes else []), info.channels]
        sides = [1] * len(before) + [CHUNK] * 3
        node = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [*before, *level.shape],
            "data_type": "float32",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": sides}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0.0,
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "attributes": {},
            "dimension_names": list(info.axes),
        }
        instead[f"{level.path}/zarr.json"] = json.dumps(node).encode()
    return instead
