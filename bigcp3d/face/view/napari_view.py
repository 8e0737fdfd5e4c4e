"""Shows a scene in napari, through napari-ome-zarr.

Each group is opened by itself: to open labels, napari-ome-zarr 0.10 looks for an image two folders above them, and
leaves an empty zarr group there if it finds none. It uses only the first scale, both of images and of labels, so they
still lie on each other.
"""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import zarr

from bigcp3d.edge.stores.places import zarr_store
from bigcp3d.errors import InputError
from bigcp3d.face.view.scene import Scene

INSTALL = "install them: pip install 'napari[all]' napari-ome-zarr"


def need_napari() -> tuple[ModuleType, ModuleType]:
    """Import napari and the reader of napari-ome-zarr; `InputError` with the command that installs them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import napari
            from napari_ome_zarr import ome_zarr_reader
    except ImportError as error:
        raise InputError(f"--napari needs napari and napari-ome-zarr ({error}); {INSTALL}") from error
    return napari, ome_zarr_reader


def open_in_napari(scene: Scene) -> None:
    """Show a scene in a window until the user closes it; `InputError` without napari or without a display."""
    napari, _ = need_napari()
    try:
        from napari.qt import run

        viewer = napari.Viewer(title=f"bigcp3d: {scene.title}")
    except (ImportError, RuntimeError) as error:
        why = str(error).strip().splitlines()[0]
        raise InputError(f"napari cannot open a window ({why}); {INSTALL}, or look in the browser") from error
    add_layers(viewer, scene)
    run()


def add_layers(viewer: Any, scene: Scene) -> None:
    """Add all layers of a scene to a viewer, or to a ``ViewerModel``, which needs no window."""
    _, reader = need_napari()
    for images in scene.images:
        node = reader.Multiscales(zarr.open_group(zarr_store(images.info.path), mode="r", use_consolidated=False))
        added = viewer.add_image(node.data(), **node.metadata())
        layers = added if isinstance(added, list) else [added]
        for layer, channel in zip(layers, images.channels, strict=True):
            layer.name, layer.visible = channel.name, channel.visible
            layer.contrast_limits = channel.low, channel.high
    for labels in scene.labels:
        node = reader.Label(zarr.open_group(zarr_store(labels.info.path), mode="r", use_consolidated=False))
        data, metadata = node.data(), {**node.metadata(), "name": labels.name, "visible": labels.visible}
        viewer.add_labels(data, **metadata)
    if viewer.dims.ndim > 3:
        viewer.dims.set_point(0, scene.time)
    if scene.at is not None:
        level = scene.groups[0].info.levels[0]
        scale, shift = level.scale_um or (1.0, 1.0, 1.0), level.translation_um
        place = [v * s + t for v, s, t in zip(scene.at, scale, shift, strict=True)]
        for axis, where in enumerate(place, viewer.dims.ndim - 3):
            viewer.dims.set_point(axis, where)
        viewer.camera.center = tuple(place)
