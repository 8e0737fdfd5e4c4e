"""Reads units and coordinate transformations of OME-Zarr up to 0.5, and writes them up to 0.6.

Voxel i of a level lies at ``scale * i + translation`` on its axis. The dataset's transformations are applied first,
then those of the multiscale, as the specification says.
"""

from __future__ import annotations

import logging
import math
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import zarr
from zarr.storage import MemoryStore

from bigcp3d.edge.image.metadata import AXES, Json, axis_name, first_multiscale
from bigcp3d.edge.stores.axis_order import SPACE
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Float3, float3

Placed = tuple[str, Float3, Float3]
"""Path, scale and translation of a level, (z, y, x), in the units of the axes."""

_TENS = {"yocto": -24, "zepto": -21, "atto": -18, "femto": -15, "pico": -12, "nano": -9, "micro": -6, "milli": -3}
_TENS |= {"centi": -2, "deci": -1, "": 0, "hecto": 2, "kilo": 3, "mega": 6, "giga": 9, "tera": 12, "peta": 15}
_TENS |= {"exa": 18, "zetta": 21, "yotta": 24}
UNITS_UM = {
    **{f"{prefix}meter": float(f"1e{power + 6}") for prefix, power in _TENS.items()},
    **{"angstrom": 1e-4, "inch": 25400.0, "foot": 304800.0, "yard": 914400.0, "mile": 1609344e3},
    "parsec": 3.0856775814913674e22,
}
"""All units of length of the specification, in micrometres."""
SHORT_UNITS = {
    **{"pm": "picometer", "nm": "nanometer", "mm": "millimeter", "cm": "centimeter", "dm": "decimeter", "m": "meter"},
    **dict.fromkeys(("um", "µm", "μm", "micron"), "micrometer"),
    **{"å": "angstrom", "in": "inch"},
}

INTRINSIC = "physical"
"""Name of the coordinate system of what we write in 0.6."""

log = logging.getLogger(__name__)


def read_units(multiscale: Json, where: str) -> tuple[str | None, ...] | None:
    """Units of z, y and x in the specification's words, None for those not stated; None if one is not a length."""
    entries = multiscale.get("axes") or []
    stated = {axis_name(e, where): e.get("unit") for e in entries if isinstance(e, Mapping)}
    units: list[str | None] = []
    for name in SPACE:
        unit = stated.get(name)
        if unit is None:
            log.info("%s: axis %s has no unit; taken as micrometres", where, name)
            units.append(None)
            continue
        word = unit_word(str(unit))
        if word is None:
            log.warning("%s: axis %s has the unit %r, not a length; the voxel size is unknown", where, name, unit)
            return None
        units.append(word)
    return tuple(units)


def unit_word(unit: str) -> str | None:
    """A unit of length in the specification's words; None where it is not a length that is known."""
    unit = unit.strip().replace("\\u00B5", "µ")  # as ImageJ writes it
    word = SHORT_UNITS.get(unit, unit.lower().replace("metre", "meter").removesuffix("s"))
    word = SHORT_UNITS.get(word, word)
    return word if word in UNITS_UM else None


def unit_um(unit: str) -> float | None:
    """Micrometres per unit; None where it is not a length that is known."""
    word = unit_word(unit)
    return None if word is None else UNITS_UM[word]


def units_um(units: Sequence[str | None]) -> Float3:
    """Micrometres per unit; a unit that is not stated counts as a micrometre."""
    return float3(UNITS_UM[unit] if unit else 1.0 for unit in units)


def _numbers(step: Json, kind: str, axes: Sequence[str], where: str) -> list[float]:
    """The checked vector of one transformation: one number for each axis, finite, and above 0 for a scale."""
    values = step.get(kind)
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != len(axes):
        raise InputError(
            f"{where}: its {kind} is {values!r} for axes {','.join(axes)}; correct the metadata: one number for each "
            "axis"
        )
    checked = []
    for name, value in zip(axes, values, strict=True):
        usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
        number = float(value) if usable else math.nan
        if name in SPACE and (not math.isfinite(number) or (kind == "scale" and number <= 0)):
            raise InputError(
                f"{where}: its {kind} is {value!r} on axis {name}, not a finite number"
                f"{' above 0' if kind == 'scale' else ''}; correct the coordinateTransformations"
            )
        checked.append(number)
    return checked


def read_transform(
    multiscale: Json, dataset: Json, axes: Sequence[str], units: Sequence[str | None] | None, where: str
) -> tuple[Float3 | None, Float3]:
    """Scale and translation of one level in micrometres, (z, y, x).

    The scale is None where none is stated or its unit is not a length; the translation is zero then.

    Read here, since ome-zarr 0.18 and 0.21 leave out translations and the multiscale's own scale without a word.
    """
    scale, shift, stated = [1.0] * 3, [0.0] * 3, False
    steps = [*(dataset.get("coordinateTransformations") or []), *(multiscale.get("coordinateTransformations") or [])]
    for step in (step for step in steps if isinstance(step, Mapping)):
        kind = step.get("type")
        if kind == "identity":
            continue
        if kind not in ("scale", "translation"):
            raise InputError(
                f"{where}: it has a coordinate transformation of type {kind!r}, and only scale and translation can be "
                "used; resample the image to an upright grid"
            )
        numbers = dict(zip(axes, _numbers(step, str(kind), axes, where), strict=True))
        values = [numbers[name] for name in SPACE]
        if kind == "scale":
            stated = True
            scale = [a * b for a, b in zip(scale, values, strict=True)]
            shift = [a * b for a, b in zip(shift, values, strict=True)]
        else:
            shift = [a + b for a, b in zip(shift, values, strict=True)]
    if not stated or units is None:
        return None, (0.0, 0.0, 0.0)
    unit = units_um(units)
    scale_um, shift_um = (float3(a * u for a, u in zip(values, unit, strict=True)) for values in (scale, shift))
    if not all(math.isfinite(number) for number in (*scale_um, *shift_um)) or min(scale_um) == 0:
        raise InputError(
            f"{where}: by its scales and units, voxels are {scale_um} micrometres, and the first lies at {shift_um}; "
            "correct the coordinateTransformations"
        )
    return scale_um, shift_um


def describe_levels(
    version: str, axes: Sequence[str], units: Sequence[str | None], levels: Iterable[Placed], **more: Any
) -> dict[str, Any]:
    """The ``multiscales`` entry of what we write, in OME-Zarr 0.4 to 0.6; ``more`` are further keys of it.

    ome-zarr makes and checks it, in a group in memory: into a store it writes in two steps, and who reads between them
    finds a part. Its 0.18 does not know 0.6, so 0.6 is made of 0.5 here.
    """
    with warnings.catch_warnings():  # it warns of its own deprecated parts when it is imported
        warnings.simplefilter("ignore", DeprecationWarning)
        from ome_zarr.format import format_from_version  # here, since it takes 1.5 s
        from ome_zarr.writer import write_multiscales_metadata

    def each(kind: str, values: Sequence[float], rest: float) -> dict[str, Any]:
        numbers = dict(zip(SPACE, values, strict=True))
        return {"type": kind, kind: [numbers.get(name, rest) for name in axes]}

    datasets = [
        {"path": path, "coordinateTransformations": [each("scale", scale, 1.0), each("translation", shift, 0.0)]}
        for path, scale, shift in levels
    ]
    known = {name: unit for name, unit in zip(SPACE, units, strict=True) if unit}
    form = format_from_version("0.5" if version == "0.6" else version)
    group = zarr.create_group(MemoryStore(), zarr_format=form.zarr_format)
    write_multiscales_metadata(group, datasets, form, axes=[name for name in AXES if name in axes], axes_units=known)
    entry = {**(first_multiscale(group.attrs.asdict(), "") or {}), **more}  # it leaves out `type` (0.18 and 0.21)
    entry["axes"].sort(key=lambda axis: axes.index(axis["name"]))  # it refuses other orders, which the viewer needs
    return _as_0_6(entry) if version == "0.6" else entry


def _as_0_6(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of 0.5 in the words of 0.6, which ome-zarr 0.18 and 0.21 do not write without an image."""
    for dataset in entry["datasets"]:
        ends = {"input": {"path": dataset["path"]}, "output": {"name": INTRINSIC}}
        steps = dataset["coordinateTransformations"]
        dataset["coordinateTransformations"] = [{"type": "sequence", **ends, "transformations": steps}]
    return {"coordinateSystems": [{"name": INTRINSIC, "axes": entry.pop("axes")}], **entry}
