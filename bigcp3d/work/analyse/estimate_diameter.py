"""Guesses the cell diameter from the image alone: the one at which a model finds cells of that diameter.

A network knows cells of one diameter. If it is told a larger one, it still finds the cells, or pieces of them. So it is
told next what it found, from a large diameter downwards, until both agree::

    told      31.0    16.6    15.5        micrometres; nuclei of 15.3 (from their labels)
    found     16.6    15.5    15.4

A few crops are tried, always of the same size in working voxels, so the work does not grow with the volume. Small
diameters do not come first, since a crop then holds few whole cells, and noise looks like cells.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo, check_time, open_image, read_box
from bigcp3d.edge.image.level_geometry import level_ratio, nearest_level
from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.cells.cell_sums import sum_cells
from bigcp3d.pure.grid import Factors, resample, working_shape
from bigcp3d.pure.predict.normalise import estimate_range, normalise_intensity, sample_boxes

CROP: Vec3 = (64, 96, 96)
"""Working voxels of a crop, where the volume has as many."""

CENTRES = ((0.5, 0.5, 0.5), (0.3, 0.3, 0.7), (0.7, 0.7, 0.3))
"""Where crops lie, in shares of the volume."""

ENOUGH_CELLS = 20
"""A diameter that fewer cells agree with is taken only if no other is found."""

DOUBTFUL_VOX = 6.0
"""Voxels of the finest axis below which a guess is hardly of cells: noise is found at any size that it is told."""

FEW_CELLS = 5
"""Whole cells that a diameter is judged by; fewer, and those that the crop's border cuts count as well."""

LARGEST_FACTOR = 4.0
"""Voxels of the coarsest level per working voxel, of the first diameter that is tried."""

CLOSE, MOST_TRIALS = 0.03, 12
"""The found diameter is the told one if they differ by no more than this share."""

log = logging.getLogger(__name__)

Segment = Callable[[NDArray[np.float32]], NDArray[np.uint32]]
"""From a normalised crop on the working grid, (c, z, y, x), to labels."""


@dataclass(frozen=True)
class DiameterTrial:
    """What came of one diameter: ``found`` holds those of the cells, in the unit of ``told``."""

    told: float
    found: NDArray[np.float64]

    @property
    def median(self) -> float:
        """Median of the found diameters; 0 where nothing was found."""
        return float(np.median(self.found)) if len(self.found) else 0.0


@dataclass(frozen=True)
class Estimate:
    """A guess of the diameter.

    Attributes
    ----------
    diameter : float
        In micrometres, or in voxels of level 0 where the image does not say its voxel size.
    low, high : float
        Between which 80 % of the found cells' diameters lie.
    cells : int
        Cells that it rests on.
    in_um : bool
        The unit.
    trials : tuple of DiameterTrial
        In the order in which they were tried.
    """

    diameter: float
    low: float
    high: float
    cells: int
    in_um: bool
    trials: tuple[DiameterTrial, ...]


def estimate_diameter(
    source: str | Path,
    card: ModelCard,
    segment: Segment,
    *,
    channels: tuple[int, ...] = (0,),
    time: int = 0,
    scale_um: tuple[float, float, float] | None = None,
    on_event: Callable[[DiameterTrial], None] | None = None,
) -> Estimate:
    """Guess the diameter of the cells of an image, with the model of ``card`` in ``segment``.

    Raises
    ------
    InputError
        There is no diameter at which the model finds cells of that diameter.
    """
    image = open_image(source)
    check_time(image, time)
    stated = scale_um or image.levels[0].scale_um
    scale = stated or (1.0, 1.0, 1.0)
    limits = [_range(image, channel, time, card) for channel in channels]
    trials: list[DiameterTrial] = []
    agreed: list[DiameterTrial] = []
    told = _largest(image, scale, card)
    while len(trials) < MOST_TRIALS and _fits(image, told, scale, card):
        found = [_find(image, told, scale, centre, card, segment, channels, limits, time) for centre in CENTRES]
        now = DiameterTrial(told, np.concatenate(found))
        trials.append(now)
        if on_event is not None:
            on_event(now)
        if abs(now.median - told) <= CLOSE * told:
            agreed.append(now)
            if len(now.found) >= ENOUGH_CELLS:
                break
            told = told / 2  # a few large pieces agree with anything
        else:
            told = now.median or told / 2
    if agreed:
        best = max(agreed, key=lambda trial: len(trial.found))
        if best.median < DOUBTFUL_VOX * min(scale):
            log.warning(
                "%s: found cells of %.2g voxels, as noise has; the model may not know this stain: check --model and "
                "--channel",
                *(image.path, best.median / min(scale)),
            )
        low, middle, high = (float(d) for d in np.percentile(best.found, [10, 50, 90]))
        return Estimate(middle, low, high, len(best.found), stated is not None, tuple(trials))
    raise InputError(
        f"{image.path}: found no diameter at which {card.name} finds cells of that diameter (tried "
        f"{', '.join(f'{trial.told:.3g}' for trial in trials) or 'none'}); look at a few cells in a viewer, check "
        "--channel, or take another --model"
    )


def _largest(image: ImageInfo, scale: tuple[float, float, float], card: ModelCard) -> float:
    """Where to begin: two cells across y or x, or as coarse as the pyramid makes cheap."""
    extent = [n * s for n, s in zip(image.levels[0].shape, scale, strict=True)]
    coarse = max(
        min(r * s for r, s in zip(level_ratio(image, level), scale, strict=True)) for level in range(len(image.levels))
    )
    return min(min(extent[1:]) / 2, LARGEST_FACTOR * coarse * card.diameter_vox)


def _fits(image: ImageInfo, told: float, scale: tuple[float, float, float], card: ModelCard) -> bool:
    """Whether a diameter is one that a run would take: not far below a voxel, not above the volume."""
    working = told / card.diameter_vox
    extent = [n * s for n, s in zip(image.levels[0].shape, scale, strict=True)]
    return min(working / s for s in scale) >= 1 / 16 and told <= min(extent[1:])


def _range(image: ImageInfo, channel: int, time: int, card: ModelCard) -> tuple[float, float]:
    """Intensities that become 0 and 1."""
    sample = [read_box(image, 0, box, channel=channel, time=time) for box in sample_boxes(image.levels[0].shape)]
    return estimate_range(sample, card.low_percentile, card.high_percentile)[:2]


def _find(
    image: ImageInfo,
    told: float,
    scale: tuple[float, float, float],
    centre: tuple[float, float, float],
    card: ModelCard,
    segment: Segment,
    channels: tuple[int, ...],
    limits: list[tuple[float, float]],
    time: int,
) -> NDArray[np.float64]:
    """Diameters of the cells of a crop that its border does not cut; of all, if that leaves few."""
    working = told / card.diameter_vox
    image_factors: Factors = tuple(working / s for s in scale)  # type: ignore[assignment]
    level = nearest_level(image, image_factors)
    factors: Factors = tuple(  # type: ignore[assignment]
        f / r for f, r in zip(image_factors, level_ratio(image, level), strict=True)
    )
    box = _crop(image.levels[level].shape, factors, centre)
    shape = working_shape(box.shape, factors)
    layers = []
    for channel, (low, high) in zip(channels, limits, strict=True):
        raw = read_box(image, level, box, channel=channel, time=time)
        values = normalise_intensity(raw, low, high, card.clip)
        layers.append(resample(values, Box.of_shape(box.shape), Box.of_shape(shape), factors, box.shape))
    labels = segment(np.stack(layers))
    cells = sum_cells(np.pad(labels, 1), (0, 0, 0), shape, []).sums
    diameters: NDArray[np.float64] = np.cbrt(6 / np.pi * cells.count) * working
    whole = ~np.any((cells.low == 0) | (cells.high == np.array(shape)), axis=1)
    return diameters[whole] if whole.sum() >= FEW_CELLS else diameters


def _crop(shape: Vec3, factors: Factors, centre: tuple[float, float, float]) -> Box:
    """A box of a level that makes a crop of `CROP` working voxels, or of all that there is on an axis."""
    sides = [min(s, max(1, round(c * f))) for s, c, f in zip(shape, CROP, factors, strict=True)]
    starts = [min(max(0, round(s * c - side / 2)), s - side) for s, c, side in zip(shape, centre, sides, strict=True)]
    return Box(vec3(starts), vec3(a + b for a, b in zip(starts, sides, strict=True)))
