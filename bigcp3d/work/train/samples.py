"""Where training samples come from: simulated tissue, noise, and volumes (`bigcp3d.work.train.volume_source`).

A source gives samples whose cells have about the model's diameter; for each, it reads only that piece of its volume. A
sample depends on the random generator alone, so a training can be repeated and resumed. Volumes are resampled by the
code that segmentation uses (`bigcp3d.pure.grid`), and reflected beyond their border.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.learn.augment import Sample, pure_noise
from bigcp3d.pure.predict.normalise import estimate_range, normalise_intensity
from bigcp3d.pure.tissue.deform import carve, divide_cells
from bigcp3d.pure.tissue.looks.draw_sample import SPREADS, draw_cells, draw_nuclei, draw_share, paint_nuclei_in_cells
from bigcp3d.pure.tissue.looks.paint_membranes import add_background_light, paint_membranes
from bigcp3d.pure.tissue.looks.paint_nuclei import paint_nuclei
from bigcp3d.pure.tissue.tissue import expose_cells, render
from bigcp3d.pure.tissue.tissue_random import random_tissue

SCALE_JITTER = ((0.4, 0.75), (0.75, 1.35), (1.35, 2.4))
"""Diameters shown in training, relative to the model's: a third of the samples from each range. With half of the
samples from the first range, small cells were found better, but large ones got holes."""

RENDERED = 0.65
"""Share of the simulated samples that look as `bigcp3d simulate` writes them."""

MIXED = 0.35
"""Share of the simulated samples in which small cells lie beside large ones."""


def draw_zoom(rng: np.random.Generator, mixed: bool = False) -> float:
    """A diameter relative to the model's, uniform in its logarithm within one of the ranges `SCALE_JITTER`.

    Where a sample shows mixed sizes, this is the middle one, from the middle range.
    """
    low, high = SCALE_JITTER[1 if mixed else rng.integers(len(SCALE_JITTER))]
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


@dataclass(frozen=True)
class Look:
    """How intensities are normalised, and the diameter that the network shall know, in voxels."""

    diameter_vox: float
    low_percentile: float = 1.0
    high_percentile: float = 99.8
    clip: tuple[float, float] = (-0.5, 2.5)


class Source(Protocol):
    """Something to draw samples from."""

    def draw(self, rng: np.random.Generator, shape: Vec3) -> Sample:
        """A sample of ``shape`` voxels."""


def paint_cells(
    labels: NDArray[np.int32], rng: np.random.Generator, look: Look, diameter: float | None = None
) -> NDArray[np.float32]:
    """Membranes of cells of a diameter (default: the model's), (1, z, y, x)."""
    image = paint_membranes(labels, rng, diameter or look.diameter_vox, look.clip)
    return add_background_light(image, labels, rng, look.clip)[None]


def vary_cells(labels: NDArray[np.int32], rng: np.random.Generator, diameter_vox: float) -> NDArray[np.int32]:
    """Some cells divided (three times in ten, twice over), some of the tissue emptied."""
    if rng.random() < 0.5:
        labels = divide_cells(labels, rng, float(rng.uniform(0.05, 0.5)), diameter_vox)
        if rng.random() < 0.6:
            labels = divide_cells(labels, rng, float(rng.uniform(0.05, 0.5)), 0.8 * diameter_vox)
    return carve(labels, rng, diameter_vox) if rng.random() < 0.45 else labels


@dataclass(frozen=True)
class TissueSource:
    """Simulated tissue, a new one for each sample.

    Without ``jitter``, its cells have the model's diameter, and it looks as `bigcp3d simulate` writes it.
    """

    stain: str
    look: Look
    shape: Vec3 = (160, 256, 256)
    jitter: bool = True

    def draw(self, rng: np.random.Generator, shape: Vec3) -> Sample:
        """A sample of a random tissue: as `render` shows it (`RENDERED` of them), or with other looks."""
        if not self.jitter:
            return self._render(rng, shape, self.look.diameter_vox)
        mixed = bool(rng.random() < MIXED)
        diameter = max(float(self.look.diameter_vox * draw_zoom(rng, mixed)), min(8.0, self.look.diameter_vox))
        if rng.random() < RENDERED:
            return (self._render_mixed if mixed else self._render)(rng, shape, diameter)
        paint = self._paint_nuclei if self.stain == "nuclei" else self._paint_membranes
        image, labels = paint(rng, shape, diameter, mixed)
        return Sample(image, labels, np.ones(shape, bool))

    def _render(self, rng: np.random.Generator, shape: Vec3, diameter: float) -> Sample:
        """A simulated image, normalised by a range that is estimated from a few boxes of the tissue."""
        tissue = random_tissue(rng, self._whole(shape), self.stain, diameter)
        counts, found = render(tissue, _place_in(tissue.shape, rng, shape))
        piece = vec3(map(min, tissue.shape, (16, 40, 40)))
        sample = [counts, *(render(tissue, _place_in(tissue.shape, rng, piece))[0] for _ in range(8))]
        return self._normalise(rng, counts, found.astype(np.int32), sample)

    def _render_mixed(self, rng: np.random.Generator, shape: Vec3, diameter: float) -> Sample:
        """Small cells beside large ones, stained and lit as `render` does; the blur is that of the smallest cells."""
        tissue = random_tissue(rng, self._whole(shape), self.stain, diameter / SPREADS[-1])
        box = _place_in(tissue.shape, rng, shape)
        wide = box.grow(tissue.halo)
        draw = draw_nuclei if self.stain == "nuclei" else draw_cells
        cells = draw(rng, wide.shape, diameter)
        keys = rng.integers(2**63, size=len(cells.level) + 1).astype(np.uint64)
        counts = expose_cells(tissue, cells.labels - np.int32(1), np.square(cells.depth), keys, box)
        return self._normalise(rng, counts, cells.labels[box.slices(wide.start)], [counts])

    def _normalise(
        self,
        rng: np.random.Generator,
        counts: NDArray[np.uint16],
        labels: NDArray[np.int32],
        of: list[NDArray[np.uint16]],
    ) -> Sample:
        """Intensities between the percentiles of the images ``of``, sometimes with light from outside the cells."""
        low, high = estimate_range(of, self.look.low_percentile, self.look.high_percentile)
        image = normalise_intensity(counts, low, high, self.look.clip)
        return Sample(
            add_background_light(image, labels, rng, self.look.clip)[None], labels, np.ones(counts.shape, bool)
        )

    def _paint_membranes(
        self, rng: np.random.Generator, shape: Vec3, diameter: float, mixed: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Membranes around simulated cells, of which some are divided or carved."""
        labels = vary_cells(self._draw_cells(rng, shape, diameter, mixed), rng, diameter)
        return paint_cells(labels, rng, self.look, diameter), labels

    def _paint_nuclei(
        self, rng: np.random.Generator, shape: Vec3, diameter: float, mixed: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Scattered nuclei, or nuclei in simulated cells."""
        if rng.random() < 0.65:
            nuclei = draw_nuclei(rng, shape, diameter)
            return paint_nuclei(nuclei, rng, diameter, self.look.clip)[None], nuclei.labels
        share = draw_share(rng)
        cells = vary_cells(self._draw_cells(rng, shape, diameter / share, mixed), rng, diameter / share)
        image, labels = paint_nuclei_in_cells(cells, share, rng, diameter, self.look.clip)
        return image[None], labels

    def _draw_cells(self, rng: np.random.Generator, shape: Vec3, diameter: float, mixed: bool) -> NDArray[np.int32]:
        """Cells of mixed sizes, or cells of the simulator."""
        if mixed:
            return draw_cells(rng, shape, diameter).labels
        tissue = random_tissue(rng, self._whole(shape), "membrane", diameter)
        return render(tissue, _place_in(tissue.shape, rng, shape))[1].astype(np.int32)

    def _whole(self, shape: Vec3) -> Vec3:
        """Shape of a tissue that holds samples of ``shape``."""
        return vec3(map(max, self.shape, shape))


def _place_in(whole: Vec3, rng: np.random.Generator, shape: Vec3) -> Box:
    """A box of ``shape`` somewhere in a tissue."""
    start = vec3(rng.integers(0, s - n + 1) for s, n in zip(whole, shape, strict=True))
    return Box.of_shape(shape).shift(start)


@dataclass(frozen=True)
class NoiseSource:
    """Images without any cell. Normalisation makes noise bright, and the network must learn that it is background."""

    look: Look
    channels: int = 1

    def draw(self, rng: np.random.Generator, shape: Vec3) -> Sample:
        """Noise in each channel, normalised as a whole volume of noise would be."""
        image = np.stack([self._draw_channel(rng, shape) for _ in range(self.channels)])
        return Sample(image, np.zeros(shape, np.int32), np.ones(shape, bool))

    def _draw_channel(self, rng: np.random.Generator, shape: Vec3) -> NDArray[np.float32]:
        image = pure_noise(shape, rng)
        low, high = estimate_range([image], self.look.low_percentile, self.look.high_percentile)
        if rng.random() < 0.5:  # like the empty corner of a volume with cells elsewhere
            high += (high - low) * rng.uniform(1, 20)
        return normalise_intensity(image, low, high, self.look.clip)
