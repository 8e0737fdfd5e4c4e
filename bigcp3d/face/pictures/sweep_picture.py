"""A picture of a sweep: for each trial the outlines of its labels on the middle planes of the region.

::

    truth       trial 1     trial 2         z plane ( y, x ) above, y plane ( z, x ) below, each with its settings
    trial 3     trial 4     ...
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from bigcp3d.face.pictures.planes_picture import outline
from bigcp3d.pure.boxes import Box, vec3

if TYPE_CHECKING:
    from bigcp3d.schedule.sweep import Sweep, Trial

MOST_TILES = 24
COLUMNS = 4
AXES = (0, 1)
"""The planes shown: across z, and across y."""


@dataclass(frozen=True)
class Tile:
    """What is drawn of a trial: a title, and the labels on the middle planes across `AXES`."""

    title: str
    planes: tuple[NDArray[Any], ...]


def name_trial(trial: Trial) -> str:
    """Settings and what they gave, in a line."""
    words = [f"{name.removesuffix('_vox').replace('_', ' ')} {value:g}" for name, value in trial.settings.items()]
    found = [f"{trial.cells} cells"]
    if trial.scores:
        numbers = {"Dice": trial.scores["mean_dice"], "AP 0.5": trial.scores["ap50"]}
        found += [f"{name} {value:.3f}" for name, value in numbers.items() if value is not None]
    return f"{', '.join(words)}: {', '.join(found)}"


def tile_of(trial: Trial) -> Tile:
    """A trial's middle planes."""
    planes = tuple(trial.labels.take(trial.labels.shape[axis] // 2, axis=axis) for axis in AXES)
    return Tile(name_trial(trial).replace(": ", "\n"), planes)


def draw_tiles(sweep: Sweep, tiles: list[Tile], target: Path) -> None:
    """Write the picture as a PNG: the truth first, where there is one, then at most `MOST_TILES` trials in order."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    planes = _middle_boxes(sweep.region)
    image = [_read(sweep, box).squeeze(axis) for axis, box in zip(AXES, planes, strict=True)]
    shown = tiles[:MOST_TILES]
    if sweep.truth is not None:
        truth = tuple(_read(sweep, box, truth=True).squeeze(axis) for axis, box in zip(AXES, planes, strict=True))
        shown = [Tile("truth\n", truth), *shown]
    scale = sweep.plan.source.image.levels[0].scale_um or (1.0, 1.0, 1.0)
    aspects = [scale[1] / scale[2], scale[0] / scale[2]]
    heights = [part.shape[0] * aspect / part.shape[1] for part, aspect in zip(image, aspects, strict=True)]
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    width = 4.0
    size = (width * columns, rows * (width * sum(heights) + 0.6) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows * len(AXES), columns, squeeze=False, height_ratios=heights * rows)
    for axis in axes.flat:
        axis.set_axis_off()
    for number, tile in enumerate(shown):
        row, column = divmod(number, columns)
        for k, (part, labels, aspect) in enumerate(zip(image, tile.planes, aspects, strict=True)):
            axis = axes[row * len(AXES) + k, column]
            axis.imshow(outline(part, labels), aspect=aspect, interpolation="nearest")
            if k == 0:
                axis.set_title(tile.title, fontsize=8)
    hidden = f"; the first {MOST_TILES} of {len(tiles)}" if len(tiles) > MOST_TILES else ""
    figure.suptitle(f"{Path(sweep.plan.source.image.path).name}, middle planes across z and y{hidden}", fontsize=10)
    figure.savefig(target, dpi=110)


def _middle_boxes(region: Box) -> list[Box]:
    """One voxel thick boxes through the middle of the region."""
    boxes = []
    for axis in AXES:
        start, stop = list(region.start), list(region.stop)
        start[axis] += region.shape[axis] // 2
        stop[axis] = start[axis] + 1
        boxes.append(Box(vec3(start), vec3(stop)))
    return boxes


def _read(sweep: Sweep, box: Box, *, truth: bool = False) -> NDArray[Any]:
    """A box of level 0 of the image's first channel, or of the truth."""
    from bigcp3d.edge.image.voxels import read_box

    if truth and sweep.truth is not None:
        return read_box(sweep.truth, 0, box, time=sweep.time if sweep.truth.times > 1 else 0)
    return read_box(sweep.plan.source.image, 0, box, channel=sweep.plan.source.channels[0], time=sweep.time)
