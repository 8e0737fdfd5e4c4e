"""What a viewer shows, as frozen data: layers and their contrast, from metadata and a small sample of voxels.

`bigcp3d.face.view.neuroglancer_state` and `bigcp3d.face.view.napari_view` show a scene in their viewers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.level_geometry import placed
from bigcp3d.edge.image.same_grid import at_level, check_same_grid, find_level, with_place_of
from bigcp3d.edge.image.voxels import check_time, read_box
from bigcp3d.edge.labels.default_name import DEFAULT_NAME
from bigcp3d.edge.labels.image_and_labels import open_image_and_labels
from bigcp3d.edge.stores.places import Place, place
from bigcp3d.errors import InputError
from bigcp3d.face.pictures.plane_drawing import find_contrast
from bigcp3d.face.view.served_objects import ServedGroup, serve_group
from bigcp3d.pure.boxes import Box, Float3, float3
from bigcp3d.pure.predict.normalise import sample_boxes
from bigcp3d.work.convert import omero

ENOUGH_VOX = 64**3
"""Contrast is taken from the coarsest level that has at least this many voxels."""
COLOURS = tuple(f"#{colour}".lower() for colour in omero.COLOURS)
"""Colours of several channels."""
DRAWN = "each is drawn at the place that it states"
"""What a viewer does with labels and an image that say different places."""
SHOWN_CHANNELS = 3
"""Channels that are visible at the start."""


Prepare = Callable[[int, Box, int, int], NDArray[np.float32]]
"""Voxels of a level, a box, a channel and a time point."""


@dataclass(frozen=True)
class Channel:
    """One channel of an image, at ``index`` on axis c, with a name that no other layer of the scene has.

    ``low`` is shown black, ``high`` in ``colour`` (``"#rrggbb"``). ``visible`` says whether it is shown at the start.
    """

    name: str
    index: int
    colour: str
    low: float
    high: float
    visible: bool = True


@dataclass(frozen=True)
class Images:
    """Channels of one OME-Zarr image, and what a viewer may read of it."""

    info: ImageInfo
    channels: tuple[Channel, ...]
    served: ServedGroup
    compute: Prepare | None = None
    """Computes the voxels, if they are not stored (`bigcp3d.face.view.prepared_layers`)."""


@dataclass(frozen=True)
class Labels:
    """Labels, whether they are visible at the start, and what a viewer may read of them."""

    name: str
    info: ImageInfo
    visible: bool
    served: ServedGroup
    meshes: ServedGroup | None = None
    """Surfaces of the cells, if they are asked for (`bigcp3d.face.view.cell_meshes`)."""


@dataclass(frozen=True)
class Scene:
    """What is shown: at least one group of images or labels.

    ``at`` is the voxel (z, y, x) of level 0 of the first group in the middle of the view, None for the volume's middle.
    """

    title: str
    images: tuple[Images, ...]
    labels: tuple[Labels, ...]
    at: Float3 | None = None
    time: int = 0

    @property
    def groups(self) -> tuple[Images | Labels, ...]:
        """All groups. The first sets the voxel size and the extent of the view."""
        return (*self.images, *self.labels)


def make_scene(
    path: str | Place,
    names: Sequence[str] = (),
    *,
    image: str | Place | None = None,
    scale_um: Float3 | None = None,
    at: str | None = None,
    time: int = 0,
) -> Scene:
    """The scene of an image, a store of labels, or a labels group; `InputError` where there is nothing to show.

    Labels of these ``names`` are visible at the start, by default those that other commands take too: "cells", or those
    finished last where there are none. ``image`` is the image of labels that name none, or one at an address that is
    not opened unasked. ``at`` is where the view begins: "Z,Y,X" in voxels of level 0, or in micrometres with "um" at
    its end.
    """
    found = open_image_and_labels(path, image)
    for name in names:
        if name not in found.labels:
            there = ", ".join(found.labels) or "none"
            raise InputError(f"{path}: found no labels {name!r}; there are: {there}; give one of these with --name")
    shown = set(names or ([DEFAULT_NAME] if DEFAULT_NAME in found.labels else list(found.labels)[-1:]))
    shown_image, infos = _place(found.image, found.labels, scale_um)
    labels = tuple(Labels(name, info, name in shown, serve_group(info)) for name, info in infos.items())
    images = []
    if shown_image is not None:
        channels = tuple(_channels(shown_image, set(found.labels)))
        images.append(Images(shown_image, channels, serve_group(shown_image)))
    scene = Scene(place(path).name, tuple(images), labels)
    first = scene.groups[0].info
    return replace(scene, at=None if at is None else _find_voxel(at, first), time=check_time(first, time))


def _place(
    image: ImageInfo | None, labels: Mapping[str, ImageInfo], scale_um: Float3 | None
) -> tuple[ImageInfo | None, dict[str, ImageInfo]]:
    """The image and its labels with a voxel size for all levels: what one does not state is that of the other."""
    if image is None:
        return None, {name: placed(info, scale_um) for name, info in labels.items()}
    for info in labels.values():
        if scale_um is None and image.levels[0].scale_um is None:
            image = with_place_of(image, info)
    image, shown = placed(image, scale_um), {}
    for name, info in labels.items():
        level = find_level(info.levels[0].shape, image)
        if scale_um is not None or info.levels[0].scale_um is None:
            info = with_place_of(info, image) if level is not None else placed(info, scale_um)
        elif level is not None:
            check_same_grid(info, at_level(image, level), belong=True, taken=DRAWN)
        shown[name] = placed(info)
    return image, shown


def _find_voxel(text: str, info: ImageInfo) -> Float3:
    """The voxel of level 0 that a user names."""
    number = r"\s*([+-]?\d+(?:\.\d+)?)\s*"
    found, level = re.fullmatch(rf"{number},{number},{number}(um|µm)?\s*", text), info.levels[0]
    if found is None:
        raise InputError(
            f"the position is {text!r}; write Z,Y,X in voxels of level 0, such as 24,100,80, with um at its end for "
            "micrometres"
        )
    voxel = float3(float(word) for word in found.groups()[:3])
    if found[4] and level.scale_um is not None:  # the scene has a scale for every level
        voxel = float3((v - t) / s for v, t, s in zip(voxel, level.translation_um, level.scale_um, strict=True))
    if not all(-0.5 <= v < n - 0.5 for v, n in zip(voxel, level.shape, strict=True)):
        raise InputError(
            f"{info.path}: the position {text!r} lies outside the volume of {level.shape} voxels (z, y, x); give one "
            "inside it"
        )
    return voxel


def _channels(info: ImageInfo, taken: set[str]) -> list[Channel]:
    """All channels, in colours if there are several. No name is that of labels or of another channel."""
    several = info.channels > 1
    names = list(info.channel_names) or [f"channel {i}" if several else "image" for i in range(info.channels)]
    channels = []
    for index, name in enumerate(names):
        name = name if name not in taken else f"{name} (channel {index})"
        taken.add(name)
        colour = COLOURS[index % len(COLOURS)] if several else "#ffffff"
        channels.append(Channel(name, index, colour, *contrast(info, index), visible=index < SHOWN_CHANNELS))
    return channels


def sampled_level(info: ImageInfo) -> int:
    """The coarsest level that has enough voxels to show which intensities there are."""
    sizes = [math.prod(level.shape) for level in info.levels]
    return max((i for i, size in enumerate(sizes) if size >= ENOUGH_VOX), default=0)


def contrast(info: ImageInfo, channel: int) -> tuple[float, float]:
    """The contrast of at most 2 million voxels of a coarse level at the first time point."""
    level = sampled_level(info)
    boxes = sample_boxes(info.levels[level].shape)
    return find_contrast([read_box(info, level, box, channel=channel) for box in boxes])
