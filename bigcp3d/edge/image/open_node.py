"""Opens a zarr group or array; for other paths, explains what they are and what to give instead.

Users often give a TIFF, an array inside a store, a plate, or the folder above. Only metadata are read.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import zarr
from zarr.errors import BaseZarrError

from bigcp3d.edge.image.metadata import Json, first_multiscale, is_labels, ome_part, stays_inside
from bigcp3d.edge.image.other_formats import READABLE, recognise
from bigcp3d.edge.stores.check_writable import nearest_there
from bigcp3d.edge.stores.codecs import describe_missing_codec
from bigcp3d.edge.stores.connections import METADATA, describe_error, is_remote_error, shown_cause
from bigcp3d.edge.stores.places import Place, is_address, place, zarr_store
from bigcp3d.edge.stores.remote import Remote
from bigcp3d.errors import InputError

log = logging.getLogger(__name__)

Node = zarr.Group | zarr.Array[Any]

SHOWN = 5
"""How many paths a message lists."""

ALL_IMAGES = ". For all of them: --all-images (info, segment, measure, evaluate)"

REQUESTS = 50
"""How many objects in an object store are looked at for a message."""


def open_node(where: str) -> Node:
    """The zarr group or array at a path, opened for reading without consolidated metadata; `InputError` if none."""
    spot = place(where)
    found = metadata_file(spot)
    if found is None:
        raise InputError(_explain_path(spot))
    store = zarr_store(spot)
    try:
        if found == ".zgroup":
            return zarr.open_group(store, mode="r", zarr_format=2, use_consolidated=False)
        return zarr.open(store, mode="r", zarr_format=3 if found == "zarr.json" else 2)
    except Exception as error:
        expected = isinstance(error, ValueError | KeyError | TypeError | OSError | BaseZarrError)
        if not expected and not is_remote_error(error):
            raise
        if (missing := describe_missing_codec(error)) is not None:
            raise InputError(f"{where}: {missing}") from error
        raise InputError(
            f"{where}: its zarr metadata ({found}) cannot be read: {describe_error(error, where)}; use zarr 2 or 3: "
            "check the permissions, or write the store again"
        ) from shown_cause(error)


def find_node(where: str) -> Node | None:
    """The zarr group or array at a path, or None; found even where consolidated metadata above do not list it."""
    try:
        return open_node(where)
    except InputError:
        return None


def find_group(where: str) -> zarr.Group | None:
    """The zarr group at a path, or None."""
    return node if isinstance(node := find_node(where), zarr.Group) else None


def read_attributes(where: str | Place) -> dict[str, Any]:
    """Attributes of a zarr group or array; `InputError` where there is none."""
    return dict(open_node(str(place(where))).attrs.asdict())


def metadata_file(spot: Place) -> str | None:
    """The file that makes a folder a zarr node: ``zarr.json``, ``.zarray`` or ``.zgroup``; None where there is none.

    A store may deny access to files that do not exist, so `InputError` comes only where none of the others is found.
    """
    denied: InputError | None = None
    for name in ("zarr.json", ".zarray", ".zgroup"):
        try:
            if os.path.isfile(spot / name) if isinstance(spot, Path) else (spot / name).is_file():
                return name
        except InputError as error:
            denied = denied or error
            if "denied" not in str(error):
                break
    if denied is not None:
        raise denied
    return None


def _explain_path(path: Place) -> str:
    """Why a path without zarr metadata is not a zarr node, and what to give instead."""
    if isinstance(path, Path) and (nearest := nearest_there(path)) != path:
        return f"{path}: there is nothing at this path (it exists up to {nearest}); give an OME-Zarr group"
    if isinstance(path, Remote) and not path.exists():
        return f"{path}: there is nothing at this path; give an OME-Zarr group"
    if path.is_file():
        kind, cure = "a file", "copy it to a local disk and convert it there"
        if path.name in METADATA:
            cure = f"give {path.parent}"
        elif isinstance(path, Remote) and path.name.lower().endswith((".ozx", ".zip")):
            kind, cure = "a zip archive", "copy it to a local disk (from another archive: unpack it) and give its path"
        elif isinstance(path, Path):
            _, kind, cure = recognise(path)
        return f"{path}: this is {kind}, not an OME-Zarr folder; {cure}"
    image = _image_above(path)
    if image is not None:
        return f"{path}: this is a folder inside an image, not a zarr group; give {image}"
    try:
        if isinstance(path, Path) and (known := recognise(path))[1]:
            return f"{path}: this is {known[1]}, not an OME-Zarr folder; {known[2]}"
        children: Iterator[Place] = islice(path.iterdir(), None if isinstance(path, Path) else REQUESTS)
        inside = sorted(str(child) for child in children if _is_store(child))
    except PermissionError:
        return f"{path}: this folder cannot be read; check the permissions"
    if inside:
        return f"{path}: this is a folder of zarr stores; give one of {_some(inside)}{ALL_IMAGES}"
    return (
        f"{path}: this folder has no zarr.json, .zgroup or .zarray, so it is not an OME-Zarr group; other formats can "
        f"be converted (bigcp3d convert IN OUT.zarr): {READABLE}"
    )


def _some(paths: list[str]) -> str:
    """The first few paths, and whether there are more."""
    text = ", ".join(paths[:SHOWN])
    return text if len(paths) <= SHOWN else f"{text} and more"


def explain_folder(where: str, node: Node) -> str:
    """Why a zarr node is not an image, and what to give instead."""
    if isinstance(node, zarr.Array):
        image = _image_above(place(where))
        cure = f"give its image, {image}" if image else "write it as OME-Zarr with ome_zarr.writer.write_image"
        return f"{where}: this is a zarr array, not an OME-Zarr group; {cure}"
    ome = ome_part(node.attrs.asdict())
    names = list(islice(_images_inside(where, node), SHOWN + 1))
    inside = _some([f"{where}/{name}" for name in names]) or "an image group"
    if "plate" in ome or "well" in ome:
        kind = "plate" if "plate" in ome else "well"
        return f"{where}: this is a high-content screening {kind}; give one image of it: {inside}{ALL_IMAGES}"
    if _is_bioformats2raw(node):
        return f"{where}: this is a bioformats2raw collection; give one image of it: {inside}{ALL_IMAGES}"
    if "scene" in ome:
        return f"{where}: this is a scene, which places several images; give one of them: {inside}{ALL_IMAGES}"
    if isinstance(ome.get("labels"), list) or (names and all(name.startswith("labels/") for name in names)):
        return f"{where}: these are labels without an image; give the image that {inside} belongs to"
    return f"{where}: this zarr group has no multiscales, so it is not an OME-Zarr image; give {inside}"


def _image_above(path: Place) -> Place | None:
    """The nearest folder above that is an image."""
    return next((parent for parent in path.parents if _is_image(str(parent))), None)


def find_images(path: str | Place, *, with_labels: bool = True) -> list[str]:
    """All images of a plate, a well, a bioformats2raw collection or a folder of stores; one image gives itself.

    A folder may also hold stores of labels beside images. Those of ``--output``, which name their labels, are taken
    ``with_labels``; the others are left out with a warning. `InputError` where there is no image.
    """
    spot = place(path)
    if metadata_file(spot) is None and spot.is_dir():
        children: Iterator[Place] = spot.iterdir()
        stores = [child for child in sorted(children, key=str) if _is_store(child)]
        found = _without_labels([image for store in stores for image in _images_of(store)], with_labels)
    else:
        found = _images_of(spot)
    if not found:
        node = open_node(str(spot))
        raise InputError(explain_folder(str(spot), node))
    return found


def _without_labels(found: list[str], with_labels: bool) -> list[str]:
    """The images among stores, and stores that name their labels ``with_labels``; all stores where none is an image."""
    labels = [store for store in found if is_labels(read_attributes(store))]
    if len(labels) == len(found):
        return found
    left_out = [store for store in labels if not with_labels or find_group(f"{store}/labels") is None]
    if left_out:
        log.warning("left out, since these are labels, not images: %s", _some(left_out))
    return [store for store in found if store not in left_out]


def _images_of(spot: Place) -> list[str]:
    """The images in a zarr group, or the group itself if it is one; nothing for labels and other groups."""
    group = open_node(str(spot))
    if not isinstance(group, zarr.Group):
        return []
    if first_multiscale(group.attrs.asdict(), str(spot)) is not None:
        return [str(spot)]
    inside = (name for name in _images_inside(str(spot), group) if "labels" not in name.split("/"))
    return [f"{spot}/{name}" for name in inside]


def _is_store(child: Place) -> bool:
    """Whether something in a folder is a zarr node, or a zip archive of one."""
    try:
        return metadata_file(place(str(child))) is not None
    except InputError:  # a damaged archive
        return False


def is_collection(group: zarr.Group) -> bool:
    """Whether a group is a plate, a well or a bioformats2raw collection."""
    return _is_bioformats2raw(group) or any(kind in ome_part(group.attrs.asdict()) for kind in ("plate", "well"))


def _is_bioformats2raw(group: zarr.Group) -> bool:
    attributes = group.attrs.asdict()
    return "bioformats2raw.layout" in ome_part(attributes) or "bioformats2raw.layout" in attributes


def _series(where: str) -> Iterator[str]:
    """Names of the images of a bioformats2raw collection: those in its list of series, else 0, 1, 2 and so on."""
    extra = find_group(f"{where}/OME")
    listed = None if extra is None else ome_part(extra.attrs.asdict()).get("series")
    missing = []
    for name in map(str, listed if isinstance(listed, list) else itertools.count()):
        if stays_inside(name) and _is_image(f"{where}/{name}"):
            yield name
        elif not isinstance(listed, list):
            return
        else:
            missing.append(name)
    _tell_missing(where, missing)


def _images_inside(where: str, group: zarr.Group) -> Iterator[str]:
    """Paths, inside a group, of the images in it."""
    ome = ome_part(group.attrs.asdict())
    if _is_bioformats2raw(group) and "plate" not in ome and (series := list(_series(where))):
        yield from series
        return
    for well, group in _there(where, _named(ome, "plate", "wells")):
        yield from (f"{well}/{image}" for image in _images_inside(f"{where}/{well}", group))
    yield from (image for image, _ in _there(where, _named(ome, "well", "images")))
    scene = ome.get("scene")
    listed = scene.get("coordinateTransformations") if isinstance(scene, Mapping) else None
    steps = [step for step in (listed if isinstance(listed, list) else []) if isinstance(step, Mapping)]
    ends = [step.get(end) for step in steps for end in ("input", "output")]
    paths = {str(end["path"]) for end in ends if isinstance(end, Mapping) and end.get("path")}
    yield from (path for path in sorted(paths) if stays_inside(path) and _is_image(f"{where}/{path}"))
    if "plate" in ome or "well" in ome or paths or is_address(where):  # a bucket may hold a million objects
        return
    for folder, names, _ in os.walk(where):
        names.sort()
        inside = os.path.relpath(folder, where)
        if inside.count(os.sep) >= 2 or os.path.exists(os.path.join(folder, ".zarray")):
            names.clear()
        elif inside != "." and _is_image(folder):
            names.clear()
            yield inside


def _there(where: str, entries: list[Json]) -> Iterator[tuple[str, zarr.Group]]:
    """Paths and groups of wells or images, one by one."""
    missing = []
    for path in (str(entry["path"]) for entry in entries):
        group = find_group(f"{where}/{path}")
        if group is None:
            missing.append(path)
        else:
            yield path, group
    _tell_missing(where, missing)


def _tell_missing(where: str, names: list[str]) -> None:
    if names:
        log.warning("%s: it names %s, but there is no image at that place; it is left out", where, _some(names))


def _named(ome: Json, key: str, entries: str) -> list[Json]:
    """The wells of a plate, or the images of a well, that have a path inside."""
    holder = ome.get(key)
    listed = holder.get(entries) if isinstance(holder, Mapping) else None
    each = [entry for entry in (listed if isinstance(listed, list) else []) if isinstance(entry, Mapping)]
    return [entry for entry in each if entry.get("path") and stays_inside(str(entry["path"]))]


def _is_image(folder: str) -> bool:
    """Whether a folder is a multiscale group."""
    group = find_group(folder)
    return group is not None and first_multiscale(group.attrs.asdict(), folder) is not None
