"""Shows a scene in napari: each level as a lazy Dask array, placed as bigcp3d understood the metadata.

The layers are made here, as napari-ome-zarr is not a library: each of its releases has other functions. 0.10 and 0.11
leave out the translation, show a group of labels inside a store of labels as an image (0.11), and make an empty zarr
group two folders above labels that are opened.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo, Level
from bigcp3d.edge.image.voxels import open_level
from bigcp3d.errors import InputError
from bigcp3d.face.view.scene import Images, Scene
from bigcp3d.pure.boxes import Box, vec3

LayerData = tuple[Any, dict[str, Any], str]
MARK, IMAGE = "bigcp3d", "bigcp3d image"
"""In a layer's metadata: the path of its image or labels group, and that of the image it is shown with, if any."""
COMPUTED = 64
"""Sides of the pieces that are computed at a time."""
INSTALL = "install it: pip install 'bigcp3d[napari]'"


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
    added = [getattr(viewer, f"add_{kind}")(levels, **shown) for levels, shown, kind in layers_of(scene)]
    if viewer.dims.ndim > 3:
        viewer.dims.set_point(0, scene.time)
    if scene.at is not None:
        look_at(viewer, added[0], scene.at)


def layers_of(scene: Scene) -> list[LayerData]:
    """The layers of a scene as a reader of napari gives them: the levels, how they are shown, and the kind of layer.

    Layers of stored voxels say in their metadata the path of their image or labels group (`MARK`), and that of the
    image that they are shown with (`IMAGE`).
    """
    image = scene.images[0].info.path if scene.images else None
    layers: list[LayerData] = []
    for images in scene.images:
        for channel in images.channels:
            shown = {"name": channel.name, "visible": channel.visible, "colormap": channel.colour}
            limits = {"contrast_limits": (channel.low, channel.high), "blending": "additive"}
            data = computed_data(images, channel.index) if images.compute else lazy_data(images.info, channel.index)
            marked = {} if images.compute else _marked(images.info, image)
            layers.append((data, {**_placed(images.info), **marked, **shown, **limits}, "image"))
    for labels in scene.labels:
        shown = {"name": labels.name, "visible": labels.visible}
        placed = {**_placed(labels.info), **_marked(labels.info, image)}
        layers.append((lazy_data(labels.info), {**placed, **shown}, "labels"))
    return layers


def look_at(viewer: Any, layer: Any, voxel: Sequence[float]) -> None:
    """Move the view to a voxel (z, y, x) of a layer's level 0."""
    place = np.array(voxel) * layer.scale[-3:] + layer.translate[-3:]
    for axis, where in enumerate(place, viewer.dims.ndim - 3):
        viewer.dims.set_point(axis, where)
    viewer.camera.center = tuple(place)


def lazy_data(info: ImageInfo, channel: int = 0) -> Any:
    """The levels of a channel, finest first, or the only one: lazy, (t, z, y, x) where there is an axis t, else zyx.

    napari takes no list of one level for labels. Each call gives arrays of new names: napari remembers chunks by name,
    and would show voxels before a correction.
    """
    import dask.array as da

    every: Any = slice(None)
    stored = [name for name in info.axes if name != "c"]
    order = [stored.index(name) for name in ("t", "z", "y", "x") if name in stored]
    arrays = (da.from_zarr(open_level(info, level), name=False) for level in range(len(info.levels)))
    levels = [array[info.index(channel, every, [every] * 3)].transpose(order) for array in arrays]
    return levels if len(levels) > 1 else levels[0]


def computed_data(images: Images, channel: int) -> Any:
    """The same for voxels that are computed when they are looked at."""
    import dask.array as da

    times, compute = "t" in images.info.axes, images.compute
    assert compute is not None

    def block(level: int, block_info: Any = None) -> NDArray[np.float32]:
        spans = block_info[None]["array-location"]
        box = Box(*(vec3(span[k] for span in spans[-3:]) for k in (0, 1)))
        return compute(level, box, channel, spans[0][0] if times else 0).reshape(block_info[None]["chunk-shape"])

    levels = []
    for level in images.info.levels:
        shape, chunk = ((images.info.times,), (1,)) if times else ((), ())
        pieces = da.core.normalize_chunks((*chunk, *[COMPUTED] * 3), (*shape, *level.shape))
        levels.append(
            da.map_blocks(block, int(level.path), chunks=pieces, dtype="float32", meta=np.empty(0, "float32"))
        )
    return levels if len(levels) > 1 else levels[0]


def _placed(info: ImageInfo) -> dict[str, Any]:
    """Scale and translation of the finest level in micrometres, and names and units of the axes."""
    return {**placed_at(info.levels[0], time="t" in info.axes), "multiscale": len(info.levels) > 1}


def _marked(info: ImageInfo, image: str | None) -> dict[str, Any]:
    return {"metadata": {MARK: info.path, IMAGE: image}}


def placed_at(level: Level, *, time: bool) -> dict[str, Any]:
    """How napari places a layer whose finest level is ``level``; ``time`` says whether it has an axis t."""
    lead = ("t",) if time else ()
    return {
        "scale": (*(1.0 for _ in lead), *(level.scale_um or (1.0, 1.0, 1.0))),
        "translate": (*(0.0 for _ in lead), *level.translation_um),
        "axis_labels": (*lead, "z", "y", "x"),
        "units": (*("pixel" for _ in lead), *(["micrometer" if level.scale_um else "pixel"] * 3)),
    }
