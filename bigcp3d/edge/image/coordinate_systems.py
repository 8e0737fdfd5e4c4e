"""Reads OME-Zarr 0.6: its coordinate systems become axes, and one scale and translation a level, as 0.5 has them.

::

    arrays --datasets--> intrinsic system --coordinateTransformations--> further systems

The intrinsic system is read, as the specification says. Only where it states no unit of length, and one step leads to a
system that does, that one is read. Names and places of inputs and outputs differ between the drafts of 0.6; all are
read.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from bigcp3d.edge.image.metadata import Json
from bigcp3d.edge.image.transforms import unit_word
from bigcp3d.edge.stores.axis_order import SPACE
from bigcp3d.errors import InputError

Placing = list[tuple[int, float, float]]
"""For each axis of a coordinate system: the axis of the array, and the scale and translation from it."""

log = logging.getLogger(__name__)


def in_one_system(multiscale: Json, where: str) -> Json:
    """A ``multiscales`` entry of 0.6 with axes, and datasets with a scale and a translation; others as they are.

    `InputError` where a level is placed by anything but scale, translation, identity, a permutation of axes, or a
    sequence of them; or by another permutation than the others.
    """
    systems = multiscale.get("coordinateSystems")
    if not systems:
        return multiscale
    usable = isinstance(systems, list) and all(
        isinstance(s, Mapping) and isinstance(s.get("axes"), list) for s in systems
    )
    datasets = multiscale.get("datasets")
    if not usable or not isinstance(datasets, list) or not all(isinstance(d, Mapping) for d in datasets):
        raise InputError(
            f"{where}: its coordinateSystems are {systems!r}; correct the metadata: each needs a list of axes"
        )
    system = _intrinsic(systems, datasets, where)
    entries, further = _with_units(system, systems, multiscale.get("coordinateTransformations"), where)
    order: list[int] | None = None
    levels = []
    for dataset in datasets:
        steps = [*_chain(dataset.get("coordinateTransformations")), *further]
        place = f"{where}/{dataset.get('path')}"
        placing = _follow(steps, [(axis, 1.0, 0.0) for axis in range(len(entries))], place)
        sources = [source for source, _, _ in placing]
        if order is not None and sources != order:
            raise InputError(f"{place}: its axes are in another order than those of the levels before; correct mapAxis")
        order = sources
        levels.append({**dataset, "coordinateTransformations": _plain(placing, entries, steps)})
    names = _named([_as_entry(entry) for entry in entries], where)
    axes = [names[(order or []).index(axis)] for axis in range(len(names))]
    rest = {k: v for k, v in multiscale.items() if k not in ("coordinateSystems", "coordinateTransformations")}
    return {**rest, "axes": axes, "datasets": levels}


def _name(end: Any) -> str | None:
    """The name of a system that a step begins or ends in: text in early drafts, an object later."""
    return end.get("name") if isinstance(end, Mapping) else end


def _intrinsic(systems: Sequence[Json], datasets: Sequence[Json], where: str) -> Json:
    """The system into which the datasets are transformed."""
    steps = _chain(datasets[0].get("coordinateTransformations")) if datasets else []
    output = _name(steps[0].get("output")) if steps else None
    found = next((system for system in systems if system.get("name") == output), None)
    if found is None and len(systems) > 1:
        log.warning("%s: no coordinate system is named %r; %r is read", where, output, systems[0].get("name"))
    return found or systems[0]


def _with_units(
    system: Json, systems: Sequence[Json], transformations: Any, where: str
) -> tuple[list[Any], list[Json]]:
    """The axes to read, and the steps that lead to them from the intrinsic system: none, or one."""
    further = []
    for step in transformations if isinstance(transformations, list) and not _has_lengths(system) else []:
        if isinstance(step, Mapping) and _name(step.get("input")) == system.get("name"):
            end = next((s for s in systems if s.get("name") == _name(step.get("output"))), None)
            if end is not None and _has_lengths(end) and len(end["axes"]) == len(system["axes"]):
                further.append((end, step))
    if len(further) != 1:
        return system["axes"], []
    end, step = further[0]
    log.warning("%s: %r has no units; coordinate system %r is read", where, system.get("name"), end.get("name"))
    return end["axes"], [step]


def _has_lengths(system: Json) -> bool:
    """Whether any axis has a unit of length."""
    units = (entry.get("unit") for entry in system["axes"] if isinstance(entry, Mapping))
    return any(unit_word(str(unit)) is not None for unit in units)


def _chain(steps: Any) -> list[Json]:
    """The steps that lead from an array to the intrinsic system: one with an output, or a list as in 0.5."""
    usable = [step for step in steps or [] if isinstance(step, Mapping)] if isinstance(steps, list) else []
    return usable[:1] if usable and "output" in usable[0] else usable


def _follow(steps: Any, placing: Placing, where: str) -> Placing:
    """Where the axes lie after some more steps."""
    for step in steps if isinstance(steps, list) else []:
        kind = step.get("type") if isinstance(step, Mapping) else None
        if kind == "sequence":
            placing = _follow(step.get("transformations"), placing, where)
        elif kind == "scale":
            placing = [(a, s * v, t * v) for (a, s, t), v in zip(placing, _vector(step, placing, where), strict=True)]
        elif kind == "translation":
            placing = [(a, s, t + v) for (a, s, t), v in zip(placing, _vector(step, placing, where), strict=True)]
        elif kind == "mapAxis":
            order = [int(number) for number in _vector(step, placing, where)]
            if sorted(order) != list(range(len(placing))):
                raise InputError(f"{where}: its mapAxis is {order}; correct the metadata: each axis once, from 0")
            placing = [placing[axis] for axis in order]
        elif kind != "identity":
            raise InputError(
                f"{where}: it has a coordinate transformation of type {kind!r}; scale, translation, identity, mapAxis "
                "and sequences of them can be used; resample the image to an upright grid"
            )
    return placing


def _vector(step: Json, placing: Placing, where: str) -> list[float]:
    """The numbers of a step, one for each axis."""
    values = step.get(str(step["type"]))
    numbers = [v for v in values if isinstance(v, int | float)] if isinstance(values, list) else []
    if len(numbers) != len(placing):
        raise InputError(
            f"{where}: its {step['type']} is {values!r} for {len(placing)} axes; correct the metadata: one number for "
            "each axis"
        )
    return [float(number) for number in numbers]


def _plain(placing: Placing, entries: Sequence[Any], steps: Sequence[Json]) -> list[Json]:
    """Scale and translation in the order of the array's axes; nothing where neither a scale nor a unit is stated."""
    if "'scale'" not in repr(steps) and not _has_lengths({"axes": entries}):
        return []
    ordered = sorted(placing)
    return [
        {"type": "scale", "scale": [scale for _, scale, _ in ordered]},
        {"type": "translation", "translation": [shift for _, _, shift in ordered]},
    ]


def _as_entry(entry: Any) -> Any:
    """An axis without the type "array", which says nothing of what it is."""
    if isinstance(entry, Mapping) and entry.get("type") == "array":
        return {k: v for k, v in entry.items() if k != "type"}
    return entry


def _named(entries: list[Any], where: str) -> list[Any]:
    """The axes; three axes of space with other names than z, y, x are taken to be these, since names are free."""
    space = [entry for entry in entries if isinstance(entry, Mapping) and entry.get("type") == "space"]
    given = [str(entry.get("name")) for entry in space]
    if len(space) != 3 or any(name.lower() in SPACE for name in given):
        return entries
    log.warning("%s: its axes of space are called %s; taken as z, y, x", where, ", ".join(given))
    names = iter(SPACE)
    return [{**entry, "name": next(names)} if entry in space else entry for entry in entries]
