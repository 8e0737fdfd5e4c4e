"""Turns a scene into the JSON state of Neuroglancer's viewer. Neuroglancer itself is not needed for that.

Neuroglancer reads scales and translations from OME-Zarr; contrast and colours are set here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.errors import InputError
from bigcp3d.face.view.scene import Channel, Labels, Scene

Json = dict[str, Any]

SHADER = """#uicontrol invlerp contrast
#uicontrol vec3 colour color(default="{colour}")
void main() {{ emitRGB(colour * contrast()); }}
"""
PIXELS = 340
"""At the start, the image's longest side is this many pixels long."""
NEAR_VOX = 160
"""At a position that the user gives, as many of the finest voxels are that long."""
LABEL_ALPHA = 0.4
OTHERS_ALPHA = 0.1
"""How opaque the other cells are once some are picked."""
METRES_PER_UM = 1e-6
MESHES = "-meshes"
"""What the address of labels has at its end where the surfaces of their cells are."""
SHOWN_DTYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "float32")
"""Dtypes of images that Neuroglancer shows. It gives no error for others: int64 looks wrong, float64 stays empty."""

log = logging.getLogger(__name__)


def only_shown(scene: Scene) -> Scene:
    """The scene without images of a type that Neuroglancer cannot show; `InputError` where nothing is left."""
    images = []
    for group in scene.images:
        if group.info.dtype in SHOWN_DTYPES:
            images.append(group)
        else:
            shown = ", ".join(SHOWN_DTYPES)
            log.warning(
                "%s is not shown, because its dtype is %s; the browser shows %s",
                *(group.info.path, group.info.dtype, shown),
            )
    if not images and not scene.labels:
        raise InputError(f"{scene.title}: the browser cannot show an image of this dtype; use --napari")
    return replace(scene, images=tuple(images))


def describe_state(scene: Scene, urls: Mapping[str, str]) -> Json:
    """The scene as ``neuroglancer.ViewerState`` takes it; ``urls`` holds the address of each group by its path."""
    layers = [_image_layer(c, images.info, urls[images.info.path]) for images in scene.images for c in images.channels]
    for labels in scene.labels:
        layers.append(
            {
                "type": "segmentation",
                "name": labels.name,
                "source": _label_sources(labels, urls[labels.info.path]),
                "visible": labels.visible,
                "selectedAlpha": LABEL_ALPHA,
                "notSelectedAlpha": OTHERS_ALPHA,
                "tab": "segments",
            }
        )
    first = scene.groups[0].info
    level = first.levels[0]
    scale_um = level.scale_um or (1.0,) * 3
    smallest = min(scale_um)
    extent = max(n * s for n, s in zip(level.shape, scale_um, strict=True)) / smallest
    middle = scene.at or [(n - 1) / 2 for n in level.shape]
    centre = [t / s + v for t, s, v in zip(level.translation_um, scale_um, middle, strict=True)]
    seen = extent if scene.at is None else min(extent, NEAR_VOX)
    dimensions = {name: [scale * METRES_PER_UM, "m"] for name, scale in zip("xyz", reversed(scale_um), strict=True)}
    state: Json = {
        "title": scene.title,
        "dimensions": {**dimensions, **({"t": [1, ""]} if first.times > 1 else {})},
        "position": [*reversed(centre), *([scene.time] if first.times > 1 else [])],
        "crossSectionScale": seen / PIXELS,
        "projectionScale": 2 * extent,
        "layers": layers,
        "layout": "4panel",
    }
    visible = next((labels.name for labels in scene.labels if labels.visible), None)
    return {**state, "selectedLayer": {"layer": visible, "visible": True}} if visible else state


def _source(info: ImageInfo, url: str) -> str:
    return f"{url}|zarr{info.zarr_format}:"


def _label_sources(labels: Labels, url: str) -> list[str]:
    voxels = _source(labels.info, url)
    return [voxels] if labels.meshes is None else [voxels, f"{url.rstrip('/')}{MESHES}/|neuroglancer-precomputed:"]


def _image_layer(channel: Channel, info: ImageInfo, url: str) -> Json:
    layer: Json = {
        "type": "image",
        "name": channel.name,
        "source": _source(info, url),
        "shader": SHADER.format(colour=channel.colour),
        "shaderControls": {"contrast": _contrast(channel, np.dtype(info.dtype))},
        "blend": "additive",
        "opacity": 1,
        "visible": channel.visible,
    }
    if "c" in info.axes:
        layer |= {"localDimensions": {"c'": [1, ""]}, "localPosition": [channel.index]}
    return layer


def _contrast(channel: Channel, dtype: np.dtype[Any]) -> Json:
    """The contrast range, and the wider window in which a user can drag it, in numbers that the dtype has."""
    span = channel.high - channel.low
    numbers = [channel.low, channel.high, channel.low - span / 4, channel.high + span]
    if dtype.kind == "f":
        return {"range": numbers[:2], "window": numbers[2:]}
    limits = np.iinfo(dtype)
    low, high, lowest, highest = (int(min(max(round(v), limits.min), limits.max)) for v in numbers)
    high = max(high, low + 1)
    return {"range": [low, high], "window": [lowest, max(high, highest)]}
