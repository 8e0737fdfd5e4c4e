"""Shows a scene in napari: each level as a lazy Dask array, placed as bigcp3d understood the metadata.

The layers are made here, as napari-ome-zarr is not a library: each of its releases has other functions. 0.10 and 0.11
leave out the translation, show a group of labels inside a store of labels as an image (0.11), and make an empty zarr
group two folders above labels that are opened.
"""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.voxels import open_level
from bigcp3d.errors import InputError
from bigcp3d.face.view.scene import Scene

INSTALL = "install it: pip install 'napari[all]'"


def need_napari() -> ModuleType:
    """Import napari; `InputError` with the command that installs it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import napari
    except ImportError as error:
        raise InputError(f"--napari needs napari ({error}); {INSTALL}") from error
    return napari  # type: ignore[no-any-return]


def open_in_napari(scene: Scene) -> None:
    """Show a scene in a window until the user closes it; `InputError` without napari or without a display."""
    napari = need_napari()
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
    for images in scene.images:
        for channel in images.channels:
            shown = {"name": channel.name, "visible": channel.visible, "colormap": channel.colour}
            limits = {"contrast_limits": (channel.low, channel.high), "blending": "additive"}
            viewer.add_image(_levels(images.info, channel.index), **_placed(images.info), **shown, **limits)
    for labels in scene.labels:
        viewer.add_labels(_levels(labels.info), **_placed(labels.info), name=labels.name, visible=labels.visible)
    if viewer.dims.ndim > 3:
        viewer.dims.set_point(0, scene.time)
    if scene.at is not None:
        level = scene.groups[0].info.levels[0]
        scale, shift = level.scale_um or (1.0, 1.0, 1.0), level.translation_um
        place = [v * s + t for v, s, t in zip(scene.at, scale, shift, strict=True)]
        for axis, where in enumerate(place, viewer.dims.ndim - 3):
            viewer.dims.set_point(axis, where)
        viewer.camera.center = tuple(place)


def _levels(info: ImageInfo, channel: int = 0) -> list[Any]:
    """All levels of a channel, lazy, finest first: (t, z, y, x) where there is an axis t, else (z, y, x)."""
    import dask.array as da

    every: Any = slice(None)
    stored = [name for name in info.axes if name != "c"]
    order = [stored.index(name) for name in ("t", "z", "y", "x") if name in stored]
    arrays = (da.from_zarr(open_level(info, level)) for level in range(len(info.levels)))
    return [array[info.index(channel, every, [every] * 3)].transpose(order) for array in arrays]


def _placed(info: ImageInfo) -> dict[str, Any]:
    """Scale and translation of the finest level in micrometres, and names and units of the axes."""
    level, lead = info.levels[0], ("t",) if "t" in info.axes else ()
    return {
        "scale": (*(1.0 for _ in lead), *(level.scale_um or (1.0, 1.0, 1.0))),
        "translate": (*(0.0 for _ in lead), *level.translation_um),
        "axis_labels": (*lead, "z", "y", "x"),
        "units": (*("pixel" for _ in lead), *(["micrometer" if level.scale_um else "pixel"] * 3)),
        "multiscale": True,
    }
