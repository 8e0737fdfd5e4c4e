"""Estimates the cell diameter from the image alone: the one at which a model finds cells of that diameter.

The search starts at a large diameter. It goes on with the diameter that the model finds, until both are equal::

    told      31.0    16.6    15.5        micrometres; nuclei of 15.3 (from their labels)
    found     16.6    15.5    15.4

Each diameter is tried on a few crops of a fixed number of working voxels, so the work does not grow with the volume.
The search does not go upwards: at small diameters a crop holds few whole cells, and noise looks like cells.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo, open_image
from bigcp3d.edge.image.level_geometry import level_ratio, nearest_level
from bigcp3d.edge.image.voxels import check_time, read_box
from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.cells.cell_sums import sum_cells
from bigcp3d.pure.grid import Factors, resample, working_shape
from bigcp3d.pure.predict.normalise import estimate_range, normalise_intensity, sample_boxes

CROP: Vec3 = (64, 96, 96)
"""Working voxels of a crop, where the volume has as many."""

CENTRES = ((0.5, 0.5, 0.5), (0.3, 0.3, 0.7), (0.7, 0.7, 0.3))
"""Centres of the crops, as shares of the volume's sides."""

ENOUGH_CELLS = 20
"""A diameter at which fewer cells are found is taken only if there is no other."""

DOUBTFUL_VOX = 6.0
"""Below so many voxels of the finest axis, the cells may be noise, which is found at any small diameter."""

FEW_CELLS = 5
"""If a crop has fewer whole cells, those that its border cuts count as well."""

LARGEST_FACTOR = 4.0
"""Voxels of the coarsest level per working voxel, at the first diameter."""

CLOSE, MOST_TRIALS = 0.03, 12
"""Two diameters that differ by this share or less count as equal; diameters that are tried at most."""

log = logging.getLogger(__name__)

Segment = Callable[[NDArray[np.float32]], NDArray[np.uint32]]
"""Makes labels of a normalised crop on the working grid, (c, z, y, x)."""


@dataclass(frozen=True)
class DiameterTrial:
    """One diameter that the model was told, and the diameters of the cells that it found, in the same unit."""

    told: float
    found: NDArray[np.float64]

    @property
    def median(self) -> float:
        """Median of the found diameters; 0 where nothing was found."""
        return float(np.median(self.found)) if len(self.found) else 0.0


@dataclass(frozen=True)
class Estimate:
    """The diameter: in micrometres where ``in_um``, else in voxels of level 0.

    It is the median of ``cells`` cells; 80 % of their diameters lie between ``low`` and ``high``.
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
    """Estimate the diameter of the cells of an image; an `InputError` if no diameter fits.

    ``segment`` is the network with this ``card`` (`bigcp3d.work.train.validate.segment_array`). ``scale_um`` is for
    level 0, where the image has none or a wrong one. ``on_event`` gets each diameter that was tried.
    """
    image = open_image(source)
    check_time(image, time)
    scale = scale_um or image.levels[0].scale_um
    boxes, limits = sample_boxes(image.levels[0].shape), []
    for channel in channels:
        values = [read_box(image, 0, box, channel=channel, time=time) for box in boxes]
        limits.append(estimate_range(values, card.low_percentile, card.high_percentile)[:2])
    sample = _Sample(image, scale or (1.0, 1.0, 1.0), card, segment, channels, tuple(limits), time)
    trials, agreed = list[DiameterTrial](), list[DiameterTrial]()
    told = sample.largest()
    while len(trials) < MOST_TRIALS and sample.fits(told):
        now = DiameterTrial(told, np.concatenate([sample.find(told, centre) for centre in CENTRES]))
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
    if not agreed:
        tried = ", ".join(f"{trial.told:.3g}" for trial in trials) or "none"
        raise InputError(
            f"{image.path}: found no diameter at which {card.name} finds cells of that diameter (tried {tried}); look "
            "at a few cells in a viewer, check --channel, or take another --model"
        )
    best = max(agreed, key=lambda trial: len(trial.found))
    if (voxels := best.median / min(sample.scale)) < DOUBTFUL_VOX:
        text = "%s: found cells of %.2g voxels, which may be noise; check that --model and --channel fit the stain"
        log.warning(text, image.path, voxels)
    low, middle, high = (float(d) for d in np.percentile(best.found, [10, 50, 90]))
    return Estimate(middle, low, high, len(best.found), scale is not None, tuple(trials))


@dataclass(frozen=True)
class _Sample:
    """The image, and all that is needed to try a diameter on it; ``limits`` are the intensities that become 0 and 1."""

    image: ImageInfo
    scale: tuple[float, float, float]
    card: ModelCard
    segment: Segment
    channels: tuple[int, ...]
    limits: tuple[tuple[float, float], ...]
    time: int

    @property
    def narrower_side(self) -> float:
        """The shorter of the volume's sides along y and x."""
        return min(n * s for n, s in zip(self.image.levels[0].shape[1:], self.scale[1:], strict=True))

    def largest(self) -> float:
        """The first diameter: two cells across y or x, or less where the pyramid has no level coarse enough."""
        levels = (level_ratio(self.image, level) for level in range(len(self.image.levels)))
        coarse = max(min(r * s for r, s in zip(ratio, self.scale, strict=True)) for ratio in levels)
        return min(self.narrower_side / 2, LARGEST_FACTOR * coarse * self.card.diameter_vox)

    def fits(self, told: float) -> bool:
        """Whether a run would accept this diameter: not far below a voxel, and no larger than the volume."""
        return told / self.card.diameter_vox / max(self.scale) >= 1 / 16 and told <= self.narrower_side

    def find(self, told: float, centre: tuple[float, float, float]) -> NDArray[np.float64]:
        """Diameters of the cells of a crop: of those that its border does not cut, or of all if that leaves few."""
        working = told / self.card.diameter_vox
        image_factors: Factors = tuple(working / s for s in self.scale)  # type: ignore[assignment]
        level = nearest_level(self.image, image_factors)
        ratio = level_ratio(self.image, level)
        factors: Factors = tuple(f / r for f, r in zip(image_factors, ratio, strict=True))  # type: ignore[assignment]
        box = _crop(self.image.levels[level].shape, factors, centre)
        shape = working_shape(box.shape, factors)
        layers = []
        for channel, (low, high) in zip(self.channels, self.limits, strict=True):
            raw = read_box(self.image, level, box, channel=channel, time=self.time)
            values = normalise_intensity(raw, low, high, self.card.clip)
            layers.append(resample(values, Box.of_shape(box.shape), Box.of_shape(shape), factors, box.shape))
        cells = sum_cells(np.pad(self.segment(np.stack(layers)), 1), (0, 0, 0), shape, []).sums
        diameters: NDArray[np.float64] = np.cbrt(6 / np.pi * cells.count) * working
        whole = ~np.any((cells.low == 0) | (cells.high == np.array(shape)), axis=1)
        return diameters[whole] if whole.sum() >= FEW_CELLS else diameters


def _crop(shape: Vec3, factors: Factors, centre: tuple[float, float, float]) -> Box:
    """A box of a level that makes a crop of `CROP` working voxels, or of all that there is on an axis."""
    sides = [min(s, max(1, round(c * f))) for s, c, f in zip(shape, CROP, factors, strict=True)]
    starts = [min(max(0, round(s * c - side / 2)), s - side) for s, c, side in zip(shape, centre, sides, strict=True)]
    return Box.of_shape(vec3(sides)).shift(vec3(starts))
