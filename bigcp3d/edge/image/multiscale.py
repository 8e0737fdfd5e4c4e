"""The ``multiscales`` entry of what we write, in OME-Zarr 0.4 and 0.5."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bigcp3d.edge.image.metadata import AXIS_TYPES, SPACE
from bigcp3d.edge.image.transforms import Float3

Placed = tuple[str, Float3, Float3]
"""Path, scale and translation of a level, (z, y, x), in the units of the axes."""


def describe_levels(
    version: str, axes: Sequence[str], units: Sequence[str | None], levels: Iterable[Placed], **more: Any
) -> dict[str, Any]:
    """The ``multiscales`` entry of what we write, in OME-Zarr 0.4 or 0.5; ``more`` are further keys of it."""
    unit = dict(zip(SPACE, units, strict=True))
    lead = len(axes) - 3
    entry: dict[str, Any] = {
        "axes": [
            {"name": name, "type": AXIS_TYPES[name], **({"unit": unit[name]} if unit.get(name) else {})}
            for name in axes
        ],
        "datasets": [
            {
                "path": path,
                "coordinateTransformations": [
                    {"type": "scale", "scale": [1.0] * lead + list(scale)},
                    {"type": "translation", "translation": [0.0] * lead + list(shift)},
                ],
            }
            for path, scale, shift in levels
        ],
        **more,
    }
    return {**entry, "version": version} if version == "0.4" else entry  # later versions: in the group
