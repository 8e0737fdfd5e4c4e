"""Prepares the pictures of the page: their size on the screen, scale bars, captions and alt texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bigcp3d.face.paste import view_command
from bigcp3d.face.report.facts import Facts
from bigcp3d.face.report.pictures import draw_view
from bigcp3d.face.report.views import AXES, View, cell_planes, contrast_of, middle_planes, round_length
from bigcp3d.pure.cells.cell_summary import CellRows
from bigcp3d.pure.plural import count

PLANE_BYTES, CARD_BYTES = 350_000, 6_000
"""Most bytes of the image or the outlines of a picture; 3 planes and 3 slices of each of 35 cells stay below 4.5 MB."""

PAGE_PX, CARD_PX, CARD_HEIGHT_PX = 720.0, 430.0, 170.0

WHY_ODD = {
    "elongation": "elongated: {value:.2g} times as long as wide (median {median:.2g})",
    "fill": "irregular shape: fills {value:.0%} of its ellipsoid (median {median:.0%})",
    "foreground": "weak foreground: mean {value:.2f} (median {median:.2f})",
}


def plane_cards(facts: Facts) -> list[dict[str, Any]]:
    """The three planes through the middle, all on one scale."""
    views = list(middle_planes(facts.source, facts.time))
    shown = contrast_of(views)
    scale = PAGE_PX / max(max(view.size) for view in views)
    cards = []
    for view in views:
        cells = len(np.unique(view.labels[view.labels > 0]))
        down, right = (a for k, a in enumerate(AXES) if k != view.axis)
        lines = f"outlines of {count(cells, 'cell')} in yellow"
        alt = f"Slice across {AXES[view.axis]} at {view.name}: image in grey, {lines}."
        card = _show(view, shown, scale, alt, limit=PLANE_BYTES)
        height, width = view.labels.shape
        where = f"{view.name}. {down} points down, {right} to the right"
        cards.append({**card, "caption": f"{where}, {height} × {width} voxels, {count(cells, 'cell')}."})
    return cards


def cell_cards(facts: Facts, rows: CellRows, why: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Cells, each in three slices, with its own scale and contrast."""
    return [_cell_card(facts, rows, row, why[row] if why else None) for row in range(len(rows))]


def _cell_card(facts: Facts, rows: CellRows, row: int, why: str | None) -> dict[str, Any]:
    label, time = int(rows.ids[row]), int(rows.time[row])
    views, voxel = cell_planes(facts.source, label, time, rows.low[row].tolist(), rows.high[row].tolist())
    shown = contrast_of(views)
    wide, high = sum(view.size[1] for view in views), max(view.size[0] for view in views)
    scale = min((CARD_PX - 12) / wide, CARD_HEIGHT_PX / high)
    cards = []
    for k, view in enumerate(views):
        alt = f"Cell {label} across {AXES[view.axis]} at {view.name}, outlined in cyan among its neighbours."
        card = _show(view, shown, scale, alt, limit=CARD_BYTES, chosen=label)
        cards.append(card if k == 0 else {**card, "bar": None})
    title = f"cell {label}" + (f", time {time}" if len(facts.times) > 1 else "")
    lines = [describe_volume(facts, int(rows.volume[row])), describe_position(facts, voxel)]
    if why is not None:
        lines.append(WHY_ODD[why].format(value=float(getattr(rows, why)[row]), median=facts.digest.median[why]))
    elif rows.border[row]:
        lines.append("cut by the border of the volume")
    command = view_command(facts.source.labels, facts.source.image, voxel, time)
    return {"title": title, "lines": lines, "views": cards, "command": command}


def describe_position(facts: Facts, voxel: Sequence[int]) -> str:
    """Where a voxel of the labels lies, in voxels and micrometres."""
    level = facts.source.labels.levels[0]
    words = f"at z, y, x = {', '.join(map(str, voxel))}"
    if level.scale_um is None:
        return words
    places = zip(voxel, level.scale_um, level.translation_um, strict=True)
    return f"{words} ({', '.join(f'{v * s + t:.1f}' for v, s, t in places)} µm)"


def describe_volume(facts: Facts, voxels: int) -> str:
    """A volume in cubic micrometres and voxels."""
    if facts.voxel_um3 is None:
        return count(voxels, "voxel")
    return f"{format_um3(voxels * facts.voxel_um3)} µm³, {count(voxels, 'voxel')}"


def format_um3(value: float) -> str:
    """Cubic micrometres in three digits, or all of them."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _show(view: View, shown: tuple[float, float], scale: float, alt: str, **drawing: Any) -> dict[str, Any]:
    """A view as the template takes it; ``scale`` is in pixels of the screen per unit of length."""
    height, width = (max(round(side * scale), 1) for side in view.size)
    bar = round_length(view.size[1])
    return {
        "view": view,
        "picture": draw_view(view, shown, size=(height, width), **drawing),
        "width": width,
        "height": height,
        "alt": alt,
        "bar": f"{bar:g} {view.unit}",
        "bar_width": round(100 * bar / view.size[1], 2),
    }
