"""Which layers of a viewer are a store's, and which voxels its view shows."""

from __future__ import annotations

from typing import Any

import numpy as np

from bigcp3d.edge.image.image import ImageInfo, open_image
from bigcp3d.errors import InputError
from bigcp3d.face.view.napari_view import IMAGE, MARK
from bigcp3d.pure.boxes import Box, Vec3, vec3


def labels_layer(viewer: Any, image: Any = None) -> Any:
    """The layer of labels of a store: the chosen one, else the topmost that is visible.

    With ``image``, labels that are shown with this image only. `InputError` where there are none.
    """
    from napari.layers import Labels

    found = [layer for layer in viewer.layers if isinstance(layer, Labels) and MARK in layer.metadata]
    if image is not None:
        found = [layer for layer in found if layer.metadata[IMAGE] == image.metadata[MARK]]
    chosen = [layer for layer in found if layer in viewer.layers.selection]
    visible = [layer for layer in found if layer.visible]
    if not found:
        raise InputError("no labels from a store are open; open a store: File, Open Folder, NAME.zarr with bigcp3d")
    return (chosen or visible or found)[-1]


def image_layer(viewer: Any) -> Any:
    """The image of the chosen layer, else that of the topmost visible labels, else the first one.

    `InputError` where there is none.
    """
    from napari.layers import Image, Labels

    marked = [layer for layer in viewer.layers if MARK in layer.metadata]
    images = [layer for layer in marked if isinstance(layer, Image)]
    chosen = [layer for layer in marked if layer in viewer.layers.selection]
    visible = [layer for layer in marked if isinstance(layer, Labels) and layer.visible]
    for layer in (chosen or visible or images[:1])[-1:]:
        for image in images:
            if image.metadata[MARK] == layer.metadata[IMAGE]:
                return image
    raise InputError(
        "no image from a store is open for this layer; choose another layer, or open a store: File, Open Folder, "
        "NAME.zarr with bigcp3d"
    )


def info_of(layer: Any) -> ImageInfo:
    """The metadata of the image or labels group of a layer."""
    return open_image(layer.metadata[MARK])


def voxel_in_view(viewer: Any, layer: Any) -> Vec3:
    """The voxel (z, y, x) of the layer's level 0 in the middle of the view, which may lie outside the volume."""
    shown = viewer.dims.displayed
    place = list(viewer.dims.point)
    for axis, centre in zip(range(viewer.dims.ndim - 3, viewer.dims.ndim), viewer.camera.center, strict=True):
        if axis in shown:
            place[axis] = centre
    voxel = (np.array(place[-3:]) - layer.translate[-3:]) / layer.scale[-3:]
    return vec3(np.rint(voxel).astype(int))


def time_in_view(viewer: Any, layer: Any) -> int:
    """The time point that the view shows; 0 for a layer without time points."""
    return round(float(viewer.dims.point[-4])) if layer.ndim > 3 else 0


def box_in_view(viewer: Any, layer: Any, sides: Vec3) -> Box:
    """A box of these sides (z, y, x) in the middle of the view, inside the volume; `InputError` where it is empty."""
    shape = info_of(layer).levels[0].shape
    middle = voxel_in_view(viewer, layer)
    start = vec3(m - side // 2 for m, side in zip(middle, sides, strict=True))
    box = Box(start, vec3(np.add(start, sides))).clip(shape)
    if box.empty:
        raise InputError(
            f"the middle of the view, voxel {middle}, lies outside the volume of {shape} voxels; move the view"
        )
    return box


def placed_like(layer: Any, box: Box) -> dict[str, Any]:
    """How a layer (z, y, x) that holds a box of level 0 is placed over its layer."""
    scale = layer.scale[-3:]
    return {
        "scale": tuple(scale),
        "translate": tuple(layer.translate[-3:] + np.array(box.start) * scale),
        "units": tuple(layer.units[-3:]),
        "axis_labels": tuple(layer.axis_labels[-3:]),
    }
