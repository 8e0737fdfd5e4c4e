"""Reads version and axes from the JSON of an OME-Zarr group. No store is opened here.

Versions differ in where the keys are (0.5 and later: under ``ome``) and in how they state axes (0.1, 0.2: always t, c,
z, y, x; 0.3: strings; 0.4, 0.5: objects; 0.6: `bigcp3d.edge.image.coordinate_systems`). Common mistakes of writers are
tolerated and logged; mistakes that would change the geometry are refused.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bigcp3d.edge.stores.axis_order import SPACE
from bigcp3d.errors import InputError

Json = Mapping[str, Any]

VERSION = re.compile(r"\d+\.\d+")
VERSIONS = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6")
AXES = ("t", "c", "z", "y", "x")
AXIS_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}

log = logging.getLogger(__name__)


def ome_part(attributes: Json) -> Json:
    """The OME-Zarr keys of a group: under ``ome`` (0.5 and later, and misplaced ones in zarr 2), or at the top."""
    part = attributes.get("ome")
    return part if isinstance(part, Mapping) else attributes


def is_labels(attributes: Json) -> bool:
    """Whether a group's attributes say that its voxels are labels, not an image."""
    return "image-label" in ome_part(attributes)


def own_part(attributes: Json) -> dict[str, Any]:
    """The attributes in which labels say how bigcp3d made them; empty for other labels."""
    part = attributes.get("bigcp3d")
    return dict(part) if isinstance(part, Mapping) else {}


def stays_inside(path: str) -> bool:
    """Whether a path in metadata stays below its group; a store from a stranger must not point elsewhere."""
    return not (path.startswith(("/", "~")) or "\\" in path or ":" in path or ".." in path.split("/"))


def first_multiscale(attributes: Json, where: str) -> Json | None:
    """The first entry of ``multiscales``, or None where there is none."""
    entries = ome_part(attributes).get("multiscales")
    if not isinstance(entries, Sequence) or not entries or not isinstance(entries[0], Mapping):
        return None
    if len(entries) > 1:
        log.warning("%s: %d entries in multiscales; the first is used", where, len(entries))
    entry: Json = entries[0]
    return entry


def check_lists(multiscale: Json, where: str) -> None:
    """Refuse a ``multiscales`` entry that has something else where the specification has a list: `InputError`."""
    datasets, systems = (multiscale.get(key) for key in ("datasets", "coordinateSystems"))
    inside = [*(datasets if isinstance(datasets, list) else []), *(systems if isinstance(systems, list) else [])]
    for holder in (multiscale, *(each for each in inside if isinstance(each, Mapping))):
        for key in ("axes", "coordinateSystems", "coordinateTransformations"):
            value = holder.get(key)
            usable = isinstance(value, list) and (key == "axes" or all(isinstance(each, Mapping) for each in value))
            if value is not None and not usable:
                raise InputError(f"{where}: its {key} are {value!r}, not a list of objects; correct the metadata")


def read_version(attributes: Json, zarr_format: int, where: str) -> str:
    """The OME-Zarr version, ``"0.1"`` to ``"0.6"``; guessed where it is not stated.

    Read here, since ome-zarr 0.18 and 0.21 fail where no version is stated, and 0.18 where it is 0.5.2.
    """
    ome = ome_part(attributes)
    multiscale = first_multiscale(attributes, where) or {}
    stated = ome.get("version") or multiscale.get("version")
    if stated is None:
        axes = multiscale.get("axes")
        guess = "0.1" if axes is None else "0.4" if all(isinstance(a, Mapping) for a in axes) else "0.3"
        guess = ("0.6" if "coordinateSystems" in multiscale else "0.5") if zarr_format == 3 else guess
        log.info("%s: no OME-Zarr version stated; read as %s", where, guess)
        return guess
    version = VERSION.match(str(stated))  # 0.6 has been written as 0.6rc0, 0.6.dev4, 0.6-dev and 0.6
    if version is None or version[0] not in VERSIONS:
        raise InputError(
            f"{where}: it is of OME-Zarr version {stated!r}; {VERSIONS[0]} to {VERSIONS[-1]} can be read: convert it "
            "to 0.5"
        )
    return version[0]


def axis_name(entry: Any, where: str) -> str:
    """One of t, c, z, y, x, from a name or an object."""
    entry = {"name": entry} if isinstance(entry, str) else entry
    if not isinstance(entry, Mapping):
        raise InputError(f"{where}: the axis {entry!r} is not a name or an object with a name; correct the metadata")
    name, kind = str(entry.get("name", "")).lower(), entry.get("type")
    if kind in ("time", "channel"):
        name = "t" if kind == "time" else "c"
    if name not in AXES or kind not in (None, AXIS_TYPES[name]):
        raise InputError(
            f"{where}: it has an axis {entry.get('name')!r} of type {kind!r}; take out all axes but t (time), c "
            "(channel), and z, y, x (space)"
        )
    return name


def read_axes(
    multiscale: Json, version: str, dimension_names: Sequence[str | None] | None, ndim: int, where: str
) -> tuple[str, ...]:
    """Axis names in the order of the arrays; ``dimension_names`` of an array are used where the metadata name no axes.

    `InputError` where an axis is not t, c, z, y or x, or comes twice, or one of z, y, x is missing.
    """
    entries = AXES if version in ("0.1", "0.2") else multiscale.get("axes")
    if entries is None:
        named = dimension_names is not None and all(isinstance(n, str) for n in dimension_names)
        entries = dimension_names or () if named else AXES
        log.warning("%s: no axes stated; taken as %s", where, ",".join(map(str, entries)))
    axes = tuple(axis_name(entry, where) for entry in entries)
    text = ",".join(axes)
    if any(name not in axes for name in SPACE):
        missing = ", ".join(name for name in SPACE if name not in axes)
        raise InputError(
            f"{where}: its axes are {text}, without {missing}; give a 3D volume: z, y and x are needed, t and c are not"
        )
    if len(set(axes)) != len(axes):
        raise InputError(f"{where}: its axes are {text}, with one of them twice; correct the axes in the metadata")
    if len(axes) != ndim:
        raise InputError(
            f"{where}: it names {len(axes)} axes ({text}) for arrays of {ndim} dimensions; correct the axes in the "
            "metadata"
        )
    return axes
