"""Where the metadata of an image or labels differ from the OME-Zarr specification of their version.

bigcp3d reads most of it all the same; other programs may not. Only metadata are read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import zarr

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.metadata import AXES, AXIS_TYPES, Json, first_multiscale, ome_part
from bigcp3d.edge.image.open_node import find_group, metadata_file, open_node, read_attributes
from bigcp3d.edge.image.transforms import UNITS_UM
from bigcp3d.edge.stores.places import place
from bigcp3d.errors import InputError
from bigcp3d.pure.plural import count

WINDOW = ("start", "end", "min", "max")


def metadata_faults(image: ImageInfo) -> Iterator[str]:
    """Each difference as a sentence; none for metadata as the specification wants them."""
    attributes = read_attributes(image.path)
    ome, multiscale = ome_part(attributes), first_multiscale(attributes, image.path) or {}
    yield from _versions(image, attributes, multiscale)
    if image.version not in ("0.1", "0.2"):
        yield from _axes(image, multiscale)
    yield from _levels(image, multiscale)
    if "omero" in ome:
        yield from _omero(image, ome["omero"])


def _versions(image: ImageInfo, attributes: Json, multiscale: Json) -> Iterator[str]:
    """Where the version stands, and whether it goes with the zarr format."""
    new, nested = image.version in ("0.5", "0.6"), isinstance(attributes.get("ome"), Mapping)
    holder = ome_part(attributes) if new else multiscale
    if "version" not in holder:
        yield f"the version is not stated in {'ome' if new else 'multiscales'}; read as {image.version}"
    if new != (image.zarr_format == 3):
        yield f"OME-Zarr {image.version} in zarr {image.zarr_format}; it belongs in zarr {3 if new else 2}"
    if new != nested:
        yield f"the keys are {'below' if nested else 'outside of'} 'ome', which OME-Zarr {image.version} does not allow"


def _axes(image: ImageInfo, multiscale: Json) -> Iterator[str]:
    """Order, types and units of the axes, and the names of the arrays' dimensions."""
    ordered = tuple(name for name in AXES if name in image.axes)
    if image.axes != ordered:
        yield f"the axes are {','.join(image.axes)}; the specification orders them {','.join(ordered)}"
    if image.version == "0.6":
        return
    entries = multiscale.get("axes")
    if entries is None:
        yield "no axes are stated"
    for entry in entries if isinstance(entries, list) and image.version != "0.3" else []:
        name = str(entry.get("name", "")) if isinstance(entry, Mapping) else str(entry)
        if not isinstance(entry, Mapping) or entry.get("type") is None:
            yield f"axis {name!r} has no type"
        elif AXIS_TYPES.get(name) == "space" and entry.get("unit") is not None and str(entry["unit"]) not in UNITS_UM:
            yield f"axis {name!r} has the unit {entry['unit']!r}, which is not a length in the specification's words"
    if image.version == "0.5":
        for level in image.levels:
            node = open_node(f"{image.path}/{level.path}")
            names = getattr(node.metadata, "dimension_names", None)
            if names is None or tuple(names) != image.axes:
                yield f"level {level.path!r}: its dimension_names are {names}, and the axes {','.join(image.axes)}"


def _levels(image: ImageInfo, multiscale: Json) -> Iterator[str]:
    """Their order, those that are not used, and their transformations."""
    stated = [str(dataset["path"]) for dataset in multiscale.get("datasets") or [] if isinstance(dataset, Mapping)]
    used = [level.path for level in image.levels]
    if unused := [path for path in stated if path not in used]:
        yield f"the metadata name level(s) {', '.join(unused)}, but these are missing or do not fit the finest level"
    if [path for path in stated if path in used] != used:
        yield f"the levels are in the order {', '.join(stated)}; the specification has the finest first"
    for fine, coarse in pairwise(image.levels):
        if fine.shape == coarse.shape:
            yield f"levels {fine.path!r} and {coarse.path!r} have the same shape"
    if image.version in ("0.4", "0.5"):
        for dataset in multiscale.get("datasets") or []:
            steps = dataset.get("coordinateTransformations") or []
            kinds = [step.get("type") for step in steps if isinstance(step, Mapping)]
            if kinds not in (["scale"], ["scale", "translation"]):
                found = ", ".join(map(str, kinds)) or "nothing"
                yield f"level {dataset.get('path')!r} has {found} in place of a scale and at most one translation"


def _omero(image: ImageInfo, omero: Any) -> Iterator[str]:
    """Number, names, colours and windows of the channels."""
    channels = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(channels, list) or not all(isinstance(channel, Mapping) for channel in channels):
        yield "omero has no list of channels"
        return
    if len(channels) != image.channels:
        described = count(len(channels), "channel")
        yield f"omero describes {described}, but the image has {image.channels}; the names in omero are not used"
    names = [str(channel["label"]) for channel in channels if channel.get("label")]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{names.count(name)} channels are called {name!r}; choose one by its number, as --channel '#0'"
    for number, channel in enumerate(channels):
        label = str(channel.get("label", ""))
        if label.isdecimal() and int(label) < len(channels) and int(label) != number:
            yield f"channel {number} is called {label!r}, the number of another one; use --channel '#{number}'"
        colour, window = channel.get("color"), channel.get("window")
        if colour is not None and not re.fullmatch(r"[0-9A-Fa-f]{6}", str(colour)):
            yield f"omero: channel {number} has the color {colour!r}; six hexadecimal digits are needed"
        if window is not None:
            missing = [key for key in WINDOW if not isinstance(window, Mapping) or key not in window]
            if missing:
                yield f"omero: the window of channel {number} has no {', '.join(missing)}"


def group_faults(image: ImageInfo) -> Iterator[str]:
    """What is wrong with the groups beside the levels: ``labels`` and ``tables``."""
    for kind in ("labels", "tables"):
        spot = f"{image.path}/{kind}"
        try:
            there = metadata_file(place(spot)) is not None
        except InputError:  # some servers deny access to what is not there
            continue
        if not there:
            if place(spot).exists() or os.path.lexists(spot):
                yield f"{kind} has no zarr metadata, so it is not a group"
            continue
        try:
            node = open_node(spot)
        except InputError as error:
            yield f"{kind} cannot be read: {error}"
            continue
        if isinstance(node, zarr.Array):
            yield f"{kind} is a zarr array, not a group, so nothing can be written into it; move it away"
        elif node.metadata.zarr_format != image.zarr_format:
            yield f"{kind} is of zarr {node.metadata.zarr_format}, and the image of zarr {image.zarr_format}"
        elif kind == "labels" and first_multiscale(node.attrs.asdict(), spot) is not None:
            yield "labels is an image itself, not a group of labels, so no labels can be written into it"
        elif kind == "labels":
            yield from _label_list(image, node)


def _label_list(image: ImageInfo, group: zarr.Group) -> Iterator[str]:
    """The list of names against the groups."""
    ome = ome_part(group.attrs.asdict())
    names = ome.get("labels")
    if not isinstance(names, list):
        yield f"the list of labels is {names!r}, not a list of names"
        return
    if image.version in ("0.5", "0.6") and "version" not in ome:
        yield "labels: the version is not stated in ome"
    for name in dict.fromkeys(map(str, names)):
        node = find_group(f"{image.path}/labels/{name}")
        if names.count(name) > 1:
            yield f"the list of labels has {name!r} {names.count(name)} times"
        if node is None:
            yield f"the list of labels names {name!r}, which is not there"
        elif node.metadata.zarr_format != image.zarr_format:
            yield f"labels/{name} is of zarr {node.metadata.zarr_format}, and the image of zarr {image.zarr_format}"


def label_faults(labels: ImageInfo, image: ImageInfo) -> Iterator[str]:
    """What is wrong with one labels group, beside `metadata_faults`."""
    entry = ome_part(read_attributes(labels.path)).get("image-label")
    if not isinstance(entry, Mapping):
        yield "image-label is missing, so other programs cannot tell that these are labels"
    elif colours := entry.get("colors"):
        values = [colour.get("label-value") for colour in colours if isinstance(colour, Mapping)]
        if len(set(map(str, values))) < len(values):
            yield "image-label.colors has a label-value twice"
    if len(labels.levels) != len(image.levels) and labels.path != image.path:
        yield f"{count(len(labels.levels), 'level')} of the labels, and {len(image.levels)} of the image"
    if np.dtype(labels.dtype).kind not in "iu":
        yield f"the dtype is {labels.dtype}, and ids are integers"


def all_faults(image: ImageInfo, labels: Sequence[ImageInfo]) -> Iterator[str]:
    """All of them, of an image and its labels, each with what it is about."""
    for fault in (*metadata_faults(image), *group_faults(image)):
        yield f"{image.path}: {fault}"
    for info in labels:
        for fault in (*metadata_faults(info), *label_faults(info, image)):
            yield f"{info.path}: {fault}"
