"""Makes layers of the maps that labels were made from: foreground and flow, on the working grid, over the image.

Maps are bare arrays on the working grid, one for each time point. A viewer sees them as one OME-Zarr group with axes
(t), c, z, y, x. No voxel is copied: the metadata place the grid over the image, and the keys of chunks lead to the
array of each time point.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import zarr

from bigcp3d.edge.image.given_maps import open_maps
from bigcp3d.edge.image.image import ImageInfo, Level, open_image
from bigcp3d.edge.image.level_geometry import place_level
from bigcp3d.edge.image.metadata import own_part
from bigcp3d.edge.image.open_node import open_node, read_attributes
from bigcp3d.edge.stores.places import is_address, place
from bigcp3d.errors import InputError
from bigcp3d.face.view.scene import Channel, Images, Labels, Scene
from bigcp3d.face.view.served_objects import ServedGroup, StoredObjects, group_metadata_of
from bigcp3d.pure.boxes import float3, vec3
from bigcp3d.pure.track.units import UNIT
from bigcp3d.work.run.work_dir import default_work_dir

LAYERS = (("foreground", "#ffffff"), ("flow z", "#ff0000"), ("flow y", "#00ff00"), ("flow x", "#0000ff"))
"""The channels of maps and their colours. The three flows, each from -1 to 1, add up to one colour for a direction."""


def with_maps(scene: Scene, work_dir: str | Path | None = None) -> Scene:
    """The scene with the maps of its visible labels; `InputError` where there are none."""
    if not scene.images or not any(labels.visible for labels in scene.labels):
        raise InputError(
            f"{scene.title}: maps are shown over an image with labels, but the image or the labels are missing; "
            "leave out --maps"
        )
    image = scene.images[0].info
    added = tuple(maps_of(labels, image, work_dir) for labels in scene.labels if labels.visible)
    return replace(scene, images=(*scene.images, *added))


@dataclass(frozen=True)
class FoundMaps:
    """The arrays of maps by time point, where they were found, and the working grid as a level of the image."""

    where: str
    arrays: Mapping[int, zarr.Array[Any]]
    level: Level

    @property
    def full(self) -> float:
        """The value that stands for 1."""
        return float(UNIT) if next(iter(self.arrays.values())).dtype.name == "int8" else 1.0


def maps_of(labels: Labels, image: ImageInfo, work_dir: str | Path | None = None) -> Images:
    """The layers of the maps that labels were made from; only the foreground is visible at the start (`find_maps`)."""
    return _images(find_maps(labels, image, work_dir), labels.name, image.times)


def find_maps(labels: Labels, image: ImageInfo, work_dir: str | Path | None = None) -> FoundMaps:
    """The maps that labels were made from.

    ``work_dir`` is where they were kept, if not in the default place; `InputError` where there are none.
    """
    path = place(labels.info.path)
    settings = own_part(read_attributes(path)).get("parameters")
    if not isinstance(settings, Mapping) or "factors" not in settings:
        raise InputError(
            f"{path}: 'bigcp3d segment' did not write these labels, so they have no maps; leave out --maps"
        )
    said = settings.get("maps")
    if work_dir is None and is_address(str(said)):  # labels may come from strangers: no address of theirs is opened
        raise InputError(
            f"{path}: the labels say that their maps are at {said}; bigcp3d opens an address only if you give it: "
            f"use --work-dir {said}"
        )
    where = str(work_dir or said or default_work_dir(str(path.parent.parent), labels.name))
    times = [int(time) for time in settings.get("times") or range(image.times)]
    try:
        arrays = {time: open_maps(where, vec3(settings["shape"]), image.times, time) for time in times}
    except InputError as error:
        raise InputError(
            f"{where}: there are no maps of the labels {labels.name!r} here ({error}); make them with 'bigcp3d "
            "segment --keep-maps'; if that command had a --work-dir, give the same one here"
        ) from error
    level = image.levels[min(int(settings["level"]), len(image.levels) - 1)]
    grid = place_level("0", vec3(settings["shape"]), level, float3(settings["factors"]))
    return FoundMaps(where, arrays, grid)


def _images(found: FoundMaps, name: str, times: int) -> Images:
    """One group of all time points, and its four layers."""
    where, arrays, level, full = found.where, found.arrays, found.level, found.full
    first = next(iter(arrays.values()))
    dtype = first.dtype.name
    one_each = first.ndim == 4 and times > 1
    info = ImageInfo(
        path=where,
        version="0.5",
        zarr_format=first.metadata.zarr_format,
        axes=("t", "c", "z", "y", "x") if first.ndim == 5 or one_each else ("c", "z", "y", "x"),
        levels=(level,),
        dtype=dtype,
        channels=4,
        times=times,
        channel_names=(),
        label_names=(),
    )
    instead = group_metadata_of(info)
    places = {f"{level.path}/": _objects(where, first)}
    if one_each:
        instead[f"{level.path}/zarr.json"] = json.dumps(_with_time(first, times)).encode()
        places = {f"{level.path}/c/{time}/": StoredObjects(_folder(array) / "c") for time, array in arrays.items()}
    channels = [
        Channel(f"{name}: {layer}", i, colour, -full if i else 0.0, full, visible=i == 0)
        for i, (layer, colour) in enumerate(LAYERS)
    ]
    return Images(info, tuple(channels), ServedGroup(places, instead))


def _folder(array: zarr.Array[Any]) -> Path:
    """The folder of an array on this machine."""
    return Path(str(array.store_path).removeprefix("file://"))


def _objects(where: str, array: zarr.Array[Any]) -> StoredObjects:
    """The objects of an array on this machine or at an address, where it may be the first level of an image."""
    if not is_address(where):
        return StoredObjects(_folder(array))
    bare = isinstance(open_node(where), zarr.Array)
    return StoredObjects(place(where) if bare else place(where) / open_image(where).levels[0].path)


def _with_time(array: zarr.Array[Any], times: int) -> dict[str, Any]:
    """Metadata of an array (t, c, z, y, x) that is made of the chunks of one array (c, z, y, x) per time point."""
    metadata: dict[str, Any] = json.loads(json.dumps(array.metadata.to_dict(), default=lambda value: value.to_dict()))
    metadata |= {"shape": [times, *array.shape], "dimension_names": ["t", "c", "z", "y", "x"], "attributes": {}}
    pieces = array.shards or array.chunks
    metadata["chunk_grid"] = {"name": "regular", "configuration": {"chunk_shape": [1, *pieces]}}
    if array.shards:
        metadata["codecs"][0]["configuration"]["chunk_shape"] = [1, *array.chunks]
    return metadata
