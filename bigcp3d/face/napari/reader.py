"""Reads a store into napari's layers: channels, labels, and the maps that a run kept. No voxel but a sample is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bigcp3d.edge.image.image import ImageInfo, open_image
from bigcp3d.errors import InputError
from bigcp3d.face.view.maps_layers import LAYERS, FoundMaps, find_maps
from bigcp3d.face.view.napari_view import LayerData, layers_of, placed_at
from bigcp3d.face.view.scene import make_scene
from bigcp3d.schedule.edits.correction import settle_labels


def get_reader(path: str | Sequence[str]) -> Callable[[str], list[LayerData]] | None:
    """The reader of a store, as napari asks for it; None for what is no OME-Zarr, which other plugins may read."""
    if not isinstance(path, str):
        return None
    try:
        open_image(path)
    except InputError:
        return None
    return read_store


def read_store(path: str) -> list[LayerData]:
    """The layers of a store: channels, labels, and the kept maps of each labels, which are hidden at first.

    Parameters
    ----------
    path : str
        An OME-Zarr image, a store of labels, or one labels group: a path, ``s3://`` or ``https://``.

    Returns
    -------
    list of (data, dict, str)
        Data are Dask arrays (t, z, y, x) or (z, y, x), or a list of them, the finest level first; scales and places
        are in micrometres.

    Raises
    ------
    InputError
        If there is nothing to show.
    """
    for name in open_image(path).label_names:
        settle_labels(path, name)
    scene = make_scene(path)
    layers = layers_of(scene)
    for labels in scene.labels if scene.images else ():
        image = scene.images[0].info
        try:
            layers += _maps_layers(find_maps(labels, image), labels.name, image)
        except InputError:  # these labels have no maps here
            continue
    return layers


def _maps_layers(found: FoundMaps, name: str, image: ImageInfo) -> list[LayerData]:
    """The four maps over the image, on the working grid."""
    maps, layers = _all_times(found, image), list[LayerData]()
    for channel, (layer, colour) in enumerate(LAYERS):
        shown: dict[str, Any] = {"name": f"{name}: {layer}", "visible": False, "colormap": colour}
        shown |= {"contrast_limits": (-found.full if channel else 0.0, found.full), "blending": "additive"}
        placed = placed_at(found.level, time="t" in image.axes)
        layers.append((maps[..., channel, :, :, :], {**placed, **shown}, "image"))
    return layers


def _all_times(found: FoundMaps, image: ImageInfo) -> Any:
    """The maps as one lazy array (c, z, y, x), or (t, c, z, y, x) where the image has an axis t."""
    import dask.array as da

    arrays = {time: da.from_zarr(array, name=False) for time, array in found.arrays.items()}
    first = next(iter(arrays.values()))
    if first.ndim == 5:
        return first if "t" in image.axes else first[0]
    if "t" not in image.axes:
        return first
    return da.stack([arrays.get(time, da.zeros_like(first)) for time in range(image.times)])
