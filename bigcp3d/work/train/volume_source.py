"""Training samples from volumes with labels, or from labels alone, whose membranes or nuclei are then painted."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.level_geometry import ROUNDING, check_factors, level_ratio, nearest_level
from bigcp3d.edge.image.same_grid import check_same_grid
from bigcp3d.edge.image.voxels import check_channel, read_box
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box, Vec3, float3, vec3
from bigcp3d.pure.grid import Factors, image_box, resample, spread_labels, working_box, working_shape
from bigcp3d.pure.learn.augment import Sample
from bigcp3d.pure.learn.targets import dense_labels
from bigcp3d.pure.plural import count
from bigcp3d.pure.predict.normalise import estimate_range, normalise_intensity, sample_boxes
from bigcp3d.pure.predict.patches import reflected
from bigcp3d.pure.score.overlaps import known_ids
from bigcp3d.pure.tissue.deform import draw_warp, warp_array
from bigcp3d.pure.tissue.looks.draw_sample import draw_share, paint_nuclei_in_cells
from bigcp3d.work.train.reviewed import MARGIN, Reviewed
from bigcp3d.work.train.samples import Look, draw_zoom, paint_cells, vary_cells
from bigcp3d.work.train.training_cells import TrainingCells, measure_cells, measure_diameter

log = logging.getLogger(__name__)

FEW_PLANES = 2
"""Planes from which a 3D network learns next to nothing about the third axis."""


@dataclass(frozen=True)
class VolumeSource:
    """A labelled volume; where ``image`` is None, the ``stain`` is painted: membranes of the cells, or nuclei in them.

    Only ``part`` of it is read. Samples number the ``cells`` from 1. Voxels of other ids are neither cell nor
    background: those of cells that are too small, and those that were not annotated (negative ids). ``factors`` are
    voxels of level 0 per voxel of the model's grid. ``level`` of the image is read, as in a segmentation.
    ``ranges`` are, for each of the ``channels``, its intensities that become 0 and 1. Of ``reviewed`` labels only those
    cells and what is near them is known.
    """

    image: ImageInfo | None
    labels: ImageInfo
    part: Box
    factors: Factors
    look: Look
    cells: TrainingCells
    ranges: tuple[tuple[float, float], ...] = ()
    channels: tuple[int, ...] = ()
    jitter: bool = True
    stain: str = "membrane"
    reviewed: Reviewed | None = None
    level: int = 0

    def draw(self, rng: np.random.Generator, shape: Vec3) -> Sample:
        """A sample around a random cell, or four times in ten anywhere; with jitter of its size, turned and bent.

        Samples of reviewed labels are always around a reviewed cell, or where one was deleted.
        """
        share = draw_share(rng) if self.image is None and self.stain == "nuclei" else 1.0
        if not self.jitter:
            image, labels, known = self._cut_out(rng, shape, 1 / share)
            return self._paint(labels, known, rng, share) if image is None else Sample(image, labels, known)
        zoom = draw_zoom(rng) / share
        warp = draw_warp(rng, shape, self.look.diameter_vox * zoom, free=self.image is None)
        image, labels, known = self._cut_out(rng, warp.source_shape, zoom)
        labels, known = warp_array(labels, warp).astype(np.int32), warp_array(known, warp).astype(bool)
        if image is not None:
            bent = [warp_array(channel, warp, linear=True).astype(np.float32) for channel in image]
            return Sample(np.stack(bent), labels, known)
        return self._paint(vary_cells(labels, rng, self.look.diameter_vox * zoom), known, rng, share)

    def _paint(
        self, cells: NDArray[np.int32], known: NDArray[np.bool_], rng: np.random.Generator, share: float
    ) -> Sample:
        """The sample of given cells; ``share`` is the diameter of a nucleus relative to its cell."""
        if self.stain == "membrane":
            return Sample(paint_cells(cells, rng, self.look), cells, known)
        image, nuclei = paint_nuclei_in_cells(cells, share, rng, self.look.diameter_vox, self.look.clip)
        return Sample(image[None], nuclei, known)

    def _cut_out(
        self, rng: np.random.Generator, shape: Vec3, zoom: float
    ) -> tuple[NDArray[np.float32] | None, NDArray[np.int32], NDArray[np.bool_]]:
        """Image (if there is one), labels and what is known, of a window; cells are ``zoom`` times as large."""
        factors = float3(f / zoom for f in self.factors)
        grid = working_shape(self.part.shape, factors)
        if len(places := self._places()) and (self.reviewed or rng.random() < 0.6):
            cell = places[rng.integers(len(places))] - np.array(self.part.start)
            middle = cell / np.array(factors) + rng.uniform(-0.25, 0.25, 3) * np.array(shape)
        else:
            middle = rng.uniform(0, 1, 3) * np.array(grid)
        start = vec3(_place(float(m), n, g) for m, n, g in zip(middle, shape, grid, strict=True))
        index = [reflected(a, a + n, g) for a, n, g in zip(start, shape, grid, strict=True)]
        region = Box(vec3(i.min() for i in index), vec3(i.max() + 1 for i in index))
        taken = np.ix_(*(i - a for i, a in zip(index, region.start, strict=True)))
        known = np.zeros(shape, bool)
        known[Box.of_shape(shape).shift(start).clip(grid).slices(start)] = True
        labels = self._read_labels(region, factors)
        unknown = labels < 0
        labels[unknown] = 0
        image = None if self.image is None else self._read_image(self.image, region, factors, taken)
        return image, np.where(known, labels[taken], 0).astype(np.int32), known & ~unknown[taken]

    def _places(self) -> NDArray[np.float64]:
        """Centres of cells, and of those that were deleted, (n, 3)."""
        removed = () if self.reviewed is None else self.reviewed.removed
        inside = [box for box, _ in removed if not box.intersect(self.part).empty]
        return np.concatenate([self.cells.centre, *(np.add(box.start, box.stop)[None] / 2 for box in inside)])

    def _read_image(
        self, info: ImageInfo, region: Box, factors: Factors, taken: tuple[NDArray[np.intp], ...]
    ) -> NDArray[np.float32]:
        """The voxels ``taken`` of each channel in a region of the model's grid, whose origin is that of `part`."""
        part, channels = part_at(info, self.level, self.part), []
        factors = _at_level(info, self.level, factors)
        box = image_box(region, factors, part.shape)
        for channel, limits in zip(self.channels, self.ranges, strict=True):
            raw = read_box(info, self.level, box.shift(part.start), channel=channel)
            values = normalise_intensity(raw, *limits, self.look.clip)
            channels.append(resample(values, box, region, factors, part.shape)[taken])
        return np.stack(channels)

    def _read_labels(self, region: Box, factors: Factors) -> NDArray[np.int32]:
        """Labels at the voxels nearest to those of a region of the model's grid; -1 where nothing is known."""
        inverse = float3(1 / f for f in factors)
        box = working_box(region, inverse, self.part.shape)
        where, shape = box.shift(self.part.start), self.labels.levels[0].shape
        if self.reviewed is None:
            found = self._read_numbers(where)
        else:
            margin = vec3(max(1, round(MARGIN * self.look.diameter_vox * f)) for f in self.factors)
            seen = where.grow(margin).clip(shape)
            found = self.reviewed.hide(self._read_numbers(seen), seen, margin)[where.slices(seen.start)]
        return spread_labels(found, box, region, inverse, self.part.shape)

    def _read_numbers(self, box: Box) -> NDArray[np.int32]:
        """The numbers of the cells in a box of the labels, 0 for background, -1 for other ids."""
        dense, ids = dense_labels(read_box(self.labels, 0, box))
        known, order = known_ids(ids).astype(np.uint64), np.argsort(self.cells.ids)
        row = np.searchsorted(self.cells.ids, known, sorter=order)
        number = np.where(np.isin(known, self.cells.ids), np.append(order, 0)[row] + 1, -1)
        table: NDArray[np.int32] = np.append(0, number).astype(np.int32)
        return table[dense]


def _place(middle: float, length: int, size: int) -> int:
    """Start of a window around ``middle``; if possible, at most a quarter of it lies outside the volume."""
    low, high = -(length // 4), size - length + length // 4
    start = round(middle) - length // 2
    return min(max(start, low), high) if low <= high else (size - length) // 2


def _at_level(image: ImageInfo, level: int, factors: Factors) -> Factors:
    """Factors in voxels of a level, from those in voxels of level 0."""
    return float3(f / r for f, r in zip(factors, level_ratio(image, level), strict=True))


def part_at(image: ImageInfo, level: int, part: Box) -> Box:
    """The voxels of a level that lie in a part of level 0; at least one on each axis."""
    start, stop, ratio = [], [], level_ratio(image, level)
    for a, b, r, whole, n in zip(
        part.start, part.stop, ratio, image.levels[0].shape, image.levels[level].shape, strict=True
    ):
        start.append(min(math.ceil(a / r - ROUNDING), n - 1))
        stop.append(n if b == whole else min(max(math.floor(b / r + ROUNDING), start[-1] + 1), n))
    return Box(vec3(start), vec3(stop))


def _begin_with_a_voxel(image: ImageInfo, level: int, part: Box) -> Box:
    """The part, cut so that it begins with a voxel of a level: so image and labels lie on each other.

    If the ratio of the levels is no whole number, they lie on each other to within a voxel of level 0.
    """
    first = part_at(image, level, part).start
    start = (math.floor(a * r + ROUNDING) for a, r in zip(first, level_ratio(image, level), strict=True))
    return Box(vec3(min(a, b - 1) for a, b in zip(start, part.stop, strict=True)), part.stop)


def open_volume(
    image: ImageInfo | None,
    labels: ImageInfo,
    look: Look,
    *,
    part: Box,
    diameter_um: float | None,
    min_cell_vox: int,
    channels: Sequence[int | str] = (0,),
    stain: str = "membrane",
    reviewed: Reviewed | None = None,
) -> VolumeSource:
    """Measure a volume's cells and intensities, and make a source of ``part`` of it.

    Without an image, the ``stain`` is painted: membranes around the cells, or nuclei in them. The diameter is measured
    where None is given; it is in the units of the scale, or in voxels without one. Cells below ``min_cell_vox`` are
    neither cell nor background.
    """
    shape, level = labels.levels[0].shape, 0
    if image is not None and image.levels[0].shape != shape:
        text = f"{labels.path}: the labels have {shape} voxels (z, y, x), but the image has {image.levels[0].shape}"
        raise InputError(f"{text}; resample the labels to the image's shape")
    if image is not None:
        check_same_grid(labels, image, belong=labels.path.startswith(f"{image.path}/"))
    scale = (image or labels).levels[0].scale_um or (1.0, 1.0, 1.0)
    if labels.times > 1:
        log.warning("%s has %d time points; only the first is learned from", labels.path, labels.times)
    cells = measure_cells(labels, part)
    large = cells.count >= min_cell_vox
    if reviewed is not None:
        large &= np.isin(cells.ids, reviewed.ids)
    if len(cells.ids) and cells.count.max() < min_cell_vox:
        raise InputError(
            f"{labels.path}: its largest cell has {count(int(cells.count.max()), 'voxel')}, but training uses only "
            f"cells of {min_cell_vox} or more; give a smaller --min-cell"
        )
    kept = TrainingCells(cells.ids[large], cells.count[large], cells.centre[large], cells.cut[large])
    diameter = measure_diameter(kept, scale, labels.path) if diameter_um is None else diameter_um
    factors = float3(diameter / s / look.diameter_vox for s in scale)
    if image is not None:
        level = nearest_level(image, factors)
        part = _begin_with_a_voxel(image, level, part)
    if diameter_um is not None:
        check_factors(image or labels, _at_level(image or labels, level, factors), level)
    if min(grid := working_shape(shape, factors)) <= FEW_PLANES:
        log.warning(
            "%s: on the model's grid it has %s voxels (z, y, x), and the network is 3D: give volumes of more planes",
            *(labels.path, grid),
        )
    chosen, ranges = list[int](), list[tuple[float, float]]()
    if image is not None:
        chosen = [check_channel(image, channel) for channel in channels]
        for channel in chosen:
            boxes = sample_boxes(image.levels[level].shape)
            sample = [read_box(image, level, box, channel=channel) for box in boxes]
            ranges.append(estimate_range(sample, look.low_percentile, look.high_percentile))
    text = "%s: %d cells of %.1f um, level %d, factors %s"
    log.info(text, labels.path, len(kept.ids), diameter, level, np.round(factors, 2))
    return VolumeSource(
        *(image, labels, part, factors, look, kept, tuple(ranges), tuple(chosen)),
        stain=stain, reviewed=reviewed, level=level,
    )  # fmt: skip
