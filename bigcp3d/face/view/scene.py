"""What a viewer shows, as frozen data: layers with their contrast, from metadata and a small sample of voxels.

`bigcp3d.face.view.neuroglancer_state` and `bigcp3d.face.view.napari_view` show a scene in their viewers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.level_geometry import placed
from bigcp3d.edge.image.transforms import Float3
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.labels.image_and_labels import open_image_and_labels
from bigcp3d.edge.stores.places import Place, place
from bigcp3d.errors import InputError
from bigcp3d.face.view.served_objects import Shelf, shelf_of
from bigcp3d.pure.predict.normalise import estimate_range, sample_boxes

PERCENTILES = (1.0, 99.8)
ENOUGH_VOX = 64**3
"""Contrast is taken from the coarsest level that has as many voxels."""
COLOURS = ("#00ff00", "#ff00ff", "#00ffff", "#ffff00", "#ff0000", "#0000ff")
"""Of several channels; the first pairs can be told apart by colour-blind people."""
SHOWN_CHANNELS = 3
"""Channels that are visible at the start."""


@dataclass(frozen=True)
class Channel:
    """One channel of an image, ``index`` on axis c, under a name that no other layer of the scene has.

    Intensities from ``low`` to ``high`` go from black to ``colour`` (``"#rrggbb"``); ``visible`` is how it starts.
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
    shelf: Shelf


@dataclass(frozen=True)
class Labels:
    """Labels, whether they are visible at the start, and what a viewer may read of them."""

    name: str
    info: ImageInfo
    visible: bool
    shelf: Shelf


@dataclass(frozen=True)
class Scene:
    """What is shown; at least one group of images or labels."""

    title: str
    images: tuple[Images, ...]
    labels: tuple[Labels, ...]

    @property
    def groups(self) -> tuple[Images | Labels, ...]:
        """All groups; the first sets the voxel size and the extent."""
        return (*self.images, *self.labels)


def make_scene(
    path: str | Place,
    names: Sequence[str] = (),
    *,
    image: str | Place | None = None,
    scale_um: Float3 | None = None,
    as_written: bool = False,
) -> Scene:
    """The scene of an image, a store of labels, or a labels group.

    Labels of these ``names`` are shown, by default those finished last; the others are there, hidden. ``image`` is that
    of labels which name none, or one that is not read unasked. With ``as_written``, viewers get the stored metadata and
    not those that bigcp3d makes of them.

    Raises
    ------
    InputError
        There is nothing to show, or no labels of such a name.
    """
    found = open_image_and_labels(path, image)
    shown_image = None if found.image is None else placed(found.image, scale_um)
    for name in names:
        if name not in found.labels:
            there = ", ".join(found.labels) or "none"
            raise InputError(f"{path}: found no labels {name!r}; there are: {there}; give one of these with --name")
    shown = set(names or list(found.labels)[-1:])
    labels = []
    for name, info in found.labels.items():
        info = placed(info, scale_um)
        labels.append(Labels(name, info, name in shown, shelf_of(info, as_written=as_written)))
    images = []
    if shown_image is not None:
        channels = tuple(_channels(shown_image, set(found.labels)))
        images.append(Images(shown_image, channels, shelf_of(shown_image, as_written=as_written)))
    return Scene(place(path).name, tuple(images), tuple(labels))


def _channels(info: ImageInfo, taken: set[str]) -> list[Channel]:
    """All channels, with colours where there are several; none has the name of labels or of another channel."""
    several = info.channels > 1
    names = list(info.channel_names) or [f"channel {i}" if several else "image" for i in range(info.channels)]
    channels = []
    for index, name in enumerate(names):
        name = name if name not in taken else f"{name} (channel {index})"
        taken.add(name)
        colour = COLOURS[index % len(COLOURS)] if several else "#ffffff"
        channels.append(Channel(name, index, colour, *contrast(info, index), visible=index < SHOWN_CHANNELS))
    return channels


def contrast(info: ImageInfo, channel: int) -> tuple[float, float]:
    """Percentiles of at most 2 million voxels of a coarse level at the first time point.

    (v, v + 1) where all voxels have the value v, (0, 1) where none is a number.
    """
    sizes = [math.prod(level.shape) for level in info.levels]
    level = max((i for i, size in enumerate(sizes) if size >= ENOUGH_VOX), default=0)
    sample = [read_box(info, level, box, channel=channel) for box in sample_boxes(info.levels[level].shape)]
    try:
        low, high, _ = estimate_range(sample, *PERCENTILES)
    except InputError:  # all voxels are equal, or none is a number
        value = float(sample[0].flat[0])
        return (value, value + 1) if math.isfinite(value) else (0.0, 1.0)
    return low, high
