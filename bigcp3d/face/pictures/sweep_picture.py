"""Draws the picture of a sweep: for each trial the outlines of its labels on two middle planes of the region.

::

    truth       trial 1     trial 2         z plane ( y, x ) above, y plane ( z, x ) below, each with its settings
    trial 3     trial 4     ...
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from bigcp3d.edge.image.voxels import read_box
from bigcp3d.face.pictures.plane_drawing import plane_of
from bigcp3d.face.pictures.planes_picture import draw_rows, outline

if TYPE_CHECKING:
    from bigcp3d.schedule.sweep import Sweep
    from bigcp3d.schedule.sweep_trial import Trial

MOST_TILES = 24
COLUMNS = 4
AXES = (0, 1)
"""One plane is shown across z, and one across y."""


@dataclass(frozen=True)
class Tile:
    """What is drawn of a trial: a title, and the labels on the middle planes across `AXES`."""

    title: str
    planes: tuple[NDArray[Any], ...]


def name_trial(trial: Trial) -> str:
    """A trial's settings, its cells and its scores, in a line."""
    words = [f"{name.removesuffix('_vox').replace('_', ' ')} {value:g}" for name, value in trial.settings.items()]
    found = [f"{trial.cells} cells"]
    if trial.scores:
        numbers = {"Dice": trial.scores["mean_dice"], "AP50": trial.scores["ap50"]}
        found += [f"{name} {value:.3f}" for name, value in numbers.items() if value is not None]
    return f"{', '.join(words)}: {', '.join(found)}"


def tile_of(trial: Trial) -> Tile:
    """A trial's middle planes."""
    planes = tuple(trial.labels.take(trial.labels.shape[axis] // 2, axis=axis) for axis in AXES)
    return Tile(name_trial(trial).replace(": ", "\n"), planes)


def draw_tiles(sweep: Sweep, tiles: list[Tile], target: Path) -> None:
    """Write the picture as a PNG: the truth first, where there is one, then at most `MOST_TILES` trials in order."""
    image = [_read(sweep, axis) for axis in AXES]
    shown = tiles[:MOST_TILES]
    if sweep.truth is not None:
        shown = [Tile("truth\n", tuple(_read(sweep, axis, truth=True) for axis in AXES)), *shown]
    scale = sweep.plan.source.image.levels[0].scale_um or (1.0, 1.0, 1.0)
    aspects = [scale[1] / scale[2], scale[0] / scale[2]]
    rows = []
    for start in range(0, len(shown), COLUMNS):
        tiles_of_row = shown[start : start + COLUMNS]
        for k, part in enumerate(image):
            rows.append([(tile.title if k == 0 else "", outline(part, tile.planes[k])) for tile in tiles_of_row])
    hidden = f"; the first {MOST_TILES} of {len(tiles)}" if len(tiles) > MOST_TILES else ""
    title = f"{Path(sweep.plan.source.image.path).name}, middle planes across z and y{hidden}"
    draw_rows(rows, aspects * (len(rows) // len(AXES)), target, title)


def _read(sweep: Sweep, axis: int, *, truth: bool = False) -> NDArray[Any]:
    """The region's middle plane at level 0, of the image's first channel or of the truth."""
    box = plane_of(sweep.region, axis)
    if truth and sweep.truth is not None:
        return read_box(sweep.truth, 0, box, time=sweep.time if sweep.truth.times > 1 else 0).squeeze(axis)
    source = sweep.plan.source
    return read_box(source.image, 0, box, channel=source.channels[0], time=sweep.time).squeeze(axis)
