"""The image that diameters are tried on: a few crops of it, normalised and resampled as a run would do it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo, open_image
from bigcp3d.edge.image.level_geometry import level_ratio, nearest_level
from bigcp3d.edge.image.preparation import steps_of
from bigcp3d.edge.image.voxels import check_time, read_box
from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.pure.boxes import Box, Vec3, float3, vec3
from bigcp3d.pure.grid import Factors, resample, working_shape
from bigcp3d.pure.predict.normalise import estimate_range, normalise_intensity, sample_boxes, scale_intensity
from bigcp3d.pure.prepare.prepare_box import prepare_box
from bigcp3d.pure.prepare.steps import Step, margin_of

CROP: Vec3 = (48, 80, 80)
"""Working voxels of a crop, where the volume has as many."""

CENTRES = ((0.5, 0.5, 0.5), (0.3, 0.3, 0.7), (0.7, 0.3, 0.3))
"""Centres of the crops, as shares of the volume's sides."""

STEP = 2**0.5
"""From one diameter that is told to the next smaller one."""

LARGEST_FACTOR = 4.0
"""Voxels of the coarsest level per working voxel, at the first diameter."""

SMALLEST_VOX = 4.0
"""Voxels of the finest axis in the smallest diameter."""


def open_sample(
    source: str | Path,
    card: ModelCard,
    *,
    channels: tuple[int, ...] = (0,),
    time: int = 0,
    scale_um: tuple[float, float, float] | None = None,
    prepare: str | None = None,
) -> DiameterSample:
    """Open an image, and refuse a time point that it does not have."""
    image = open_image(source)
    check_time(image, time)
    scale = scale_um or image.levels[0].scale_um
    return DiameterSample(image, scale or (1.0, 1.0, 1.0), scale is not None, card, channels, time, prepare)


@dataclass(frozen=True)
class DiameterSample:
    """The image, and all that is needed to try a diameter on it.

    The intensities that become 0 and 1 are those of the level that is read. With a preparation, its filters see these
    as 0 and 1, and the level has limits of its prepared voxels besides.
    """

    image: ImageInfo
    scale: tuple[float, float, float]
    scale_known: bool
    card: ModelCard
    channels: tuple[int, ...]
    time: int
    prepare: str | None = None

    def ladder(self) -> Iterator[float]:
        """Diameters to try, from large to small.

        The first is two cells across y or x, or less where the pyramid has no level coarse enough. The last has
        `SMALLEST_VOX` voxels, or the fewest that a run would accept.
        """
        levels = (level_ratio(self.image, level) for level in range(len(self.image.levels)))
        coarse = max(min(r * s for r, s in zip(ratio, self.scale, strict=True)) for ratio in levels)
        narrower = min(n * s for n, s in zip(self.image.levels[0].shape[1:], self.scale[1:], strict=True))
        told = min(narrower / 2, LARGEST_FACTOR * coarse * self.card.diameter_vox)
        least = max(SMALLEST_VOX * min(self.scale), self.card.diameter_vox * max(self.scale) / 16)
        while told >= least:
            yield told
            told /= STEP

    def factors(self, told: float) -> Factors:
        """Voxels of level 0 per working voxel, at which cells of a diameter have the one that the model knows."""
        return float3(told / self.card.diameter_vox / s for s in self.scale)

    def crops(self, image_factors: Factors) -> list[NDArray[np.float32]]:
        """Normalised crops (c, z, y, x) on the working grid of so many voxels of level 0; they do not overlap."""
        level = nearest_level(self.image, image_factors)
        ratio = level_ratio(self.image, level)
        factors = float3(f / r for f, r in zip(image_factors, ratio, strict=True))
        boxes = dict.fromkeys(crop_box(self.image.levels[level].shape, factors, centre) for centre in CENTRES)
        return [self._read(level, box, factors) for box in boxes]

    def _read(self, level: int, box: Box, factors: Factors) -> NDArray[np.float32]:
        shape, layers = working_shape(box.shape, factors), []
        for number in range(len(self.channels)):
            if self.steps(level):
                raw, limits = self.read_prepared(level, box, number), _prepared_limits(self, level, number)
            else:
                raw, limits = self.read_raw(level, box, number), _limits(self, level, number)
            values = normalise_intensity(raw, *limits, self.card.clip)
            layers.append(resample(values, Box.of_shape(box.shape), Box.of_shape(shape), factors, box.shape))
        return np.stack(layers)

    def steps(self, level: int) -> tuple[Step, ...]:
        """The filters before the network, on a level."""
        return steps_of(self.prepare, self.image, level, self.scale if self.scale_known else None)

    def read_raw(self, level: int, box: Box, number: int) -> NDArray[Any]:
        """A box of one of the channels as it is stored."""
        return read_box(self.image, level, box, channel=self.channels[number], time=self.time)

    def read_prepared(self, level: int, box: Box, number: int) -> NDArray[Any]:
        """A box of one of the channels after the filters."""

        def read(grown: Box) -> NDArray[np.float32]:
            return scale_intensity(self.read_raw(level, grown, number), *_limits(self, level, number), bad=0.0)

        return prepare_box(read, box, self.image.levels[level].shape, self.steps(level))


@lru_cache(maxsize=64)
def _limits(sample: DiameterSample, level: int, number: int) -> tuple[float, float]:
    """The intensities of a level that become 0 and 1, for one of the channels."""
    values = [sample.read_raw(level, box, number) for box in sample_boxes(sample.image.levels[level].shape)]
    return estimate_range(values, sample.card.low_percentile, sample.card.high_percentile)


@lru_cache(maxsize=64)
def _prepared_limits(sample: DiameterSample, level: int, number: int) -> tuple[float, float]:
    """The prepared intensities of a level that become 0 and 1, for one of the channels."""
    shape = sample.image.levels[level].shape
    boxes = sample_boxes(shape, margin_of(sample.steps(level), shape))
    values = [sample.read_prepared(level, box, number) for box in boxes]
    return estimate_range(values, sample.card.low_percentile, sample.card.high_percentile)


def crop_box(shape: Vec3, factors: Factors, centre: tuple[float, float, float]) -> Box:
    """A box of a level that makes a crop of `CROP` working voxels, or of all that there is on an axis.

    An axis has as many places for crops as fit side by side; ``centre`` chooses one of them.
    """
    starts, sides = [], []
    for size, crop, factor, share in zip(shape, CROP, factors, centre, strict=True):
        side = min(size, max(1, round(crop * factor)))
        places = size // side
        place = int(share * places)
        sides.append(side)
        starts.append((size - side) * place // (places - 1) if places > 1 else (size - side) // 2)
    return Box.of_shape(vec3(sides)).shift(vec3(starts))
