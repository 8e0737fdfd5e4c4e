"""Draws the picture of a sweep: the outlines of each trial's labels on two middle planes of the region.

::

    truth       trial 1     trial 2         z plane ( y, x ) above, y plane ( z, x ) below, each with its settings
    trial 3     trial 4     ...
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from bigcp3d.edge.image.voxels import read_box
from bigcp3d.face.pictures.plane_drawing import plane_of
from bigcp3d.face.pictures.planes_picture import Tile, colour_image, draw_rows
from bigcp3d.face.sweep_rows import AXES, Row, describe_result, describe_settings

if TYPE_CHECKING:
    from bigcp3d.schedule.sweep import Sweep

MOST_TILES = 24
COLUMNS = 4


def draw_trials(sweep: Sweep, rows: Sequence[Row], varied: Sequence[str], target: Path) -> None:
    """Write the picture as a PNG: the truth first, where there is one, then at most `MOST_TILES` trials in order.

    Trials with the same labels share a picture. ``varied`` names the settings that differ between trials.
    """
    image = [colour_image(_read(sweep, axis)) for axis in AXES]
    different = [row for row in rows if row.same_as is None]
    shown = [(title_of(row, rows, varied), row.planes) for row in different[:MOST_TILES]]
    if sweep.truth is not None:
        shown.insert(0, ("truth\n\n", tuple(_read(sweep, axis, truth=True) for axis in AXES)))
    scale = sweep.plan.source.image.levels[0].scale_um or (1.0, 1.0, 1.0)
    aspects = [scale[1] / scale[2], scale[0] / scale[2]]
    tiles = []
    for start in range(0, len(shown), COLUMNS):
        for k, colours in enumerate(image):
            line = shown[start : start + COLUMNS]
            tiles.append([Tile(title if k == 0 else "", colours, planes[k]) for title, planes in line])
    hidden = f"; the first {MOST_TILES} of {len(different)}" if len(different) > MOST_TILES else ""
    title = f"{Path(sweep.plan.source.image.path).name}, middle planes across z and y{hidden}"
    draw_rows(tiles, aspects * (len(tiles) // len(AXES)), target, title)


def title_of(row: Row, rows: Sequence[Row], varied: Sequence[str]) -> str:
    """The number of a trial and of those with the same labels, its settings, and its result; three lines."""
    same = [str(other.number) for other in rows if other.same_as == row.number]
    others = f"; the same labels: {', '.join(same[:8])}{', ...' if len(same) > 8 else ''}" if same else ""
    return f"trial {row.number}{others}\n{describe_settings(row, varied)}\n{describe_result(row.trial)}"


def _read(sweep: Sweep, axis: int, *, truth: bool = False) -> NDArray[Any]:
    """The region's middle plane at level 0, of the image's first channel or of the truth."""
    box = plane_of(sweep.region, axis)
    if truth and sweep.truth is not None:
        return read_box(sweep.truth, 0, box, time=sweep.time if sweep.truth.times > 1 else 0).squeeze(axis)
    source = sweep.plan.source
    return read_box(source.image, 0, box, channel=source.channels[0], time=sweep.time).squeeze(axis)
