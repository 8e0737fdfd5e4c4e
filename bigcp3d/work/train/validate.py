"""Validation during a training: pieces of held-out volumes are segmented in memory, and their cells are scored.

The loss does not say whether touching cells are separated. A region is segmented as one block with default settings, so
it gets the labels of `bigcp3d.segment` (a test compares them).
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.group.filters import Filters
from bigcp3d.pure.in_memory import label_maps
from bigcp3d.pure.learn.augment import Sample
from bigcp3d.pure.predict.run_network import predict_whole
from bigcp3d.pure.score.metrics import score_overlaps
from bigcp3d.pure.score.overlaps import count_overlaps
from bigcp3d.pure.track.radius import smallest_volume
from bigcp3d.work.train.samples import Source, TissueSource
from bigcp3d.work.train.volume_source import VolumeSource

log = logging.getLogger(__name__)

MOST_REGIONS, MOST_OF_ONE = 8, 3
"""Regions of a validation, and of one source. A region costs about as much as a step with two patches of its size."""

LONGEST_SIDE = 96
"""Of a region, in working voxels."""

TRIES, FEW_CELLS = 4, 5
"""Places that are tried for a region. The first with `FEW_CELLS` cells is taken, else the one with most."""

ON_REGIONS = ("val_dice_cells", "val_ap50")
"""What `score_regions` gives."""


@dataclass(frozen=True)
class Region:
    """A piece of a held-out volume, on the working grid."""

    name: str
    sample: Sample


def region_shape(card: ModelCard) -> Vec3:
    """About four cells a side. Whole cores of the model's patches, so that few voxels are predicted twice."""
    cores = (side - 2 * card.margin for side in card.patch)
    return vec3(min(LONGEST_SIDE, core * max(1, round(4 * card.diameter_vox / core))) for core in cores)


def draw_regions(sources: Sequence[tuple[str, Source]], card: ModelCard, seed: int) -> list[Region]:
    """Regions of each held-out source, or of some sources where there are many; they follow from the seed.

    Cells have the model's diameter and are not deformed. Sources that show no cell are left out.
    """
    chosen = np.unique(np.linspace(0, len(sources) - 1, min(len(sources), MOST_REGIONS)).round().astype(int))
    each = min(MOST_OF_ONE, MOST_REGIONS // max(1, len(chosen)))
    regions = []
    for number in chosen.tolist():
        name, source = sources[number]
        drawn = (_draw_region(source, card, (seed, number, k)) for k in range(each))
        found = [Region(name, sample) for sample in drawn if sample is not None]
        regions += found
        if not found:
            log.warning("%s: no cell in held-out pieces of %s voxels; not validated", name, region_shape(card))
    return regions


def _draw_region(source: Source, card: ModelCard, seed: Sequence[int]) -> Sample | None:
    """A piece with a few cells; None where there are none."""
    if isinstance(source, VolumeSource | TissueSource):
        source = dataclasses.replace(source, jitter=False)
    best, most, least = None, 0, smallest_volume(card.diameter_vox / 2)
    for attempt in range(TRIES):
        sample = _cut_to_volume(source.draw(np.random.default_rng([*seed, attempt]), region_shape(card)))
        voxels = np.unique(sample.labels[sample.known & (sample.labels > 0)], return_counts=True)[1]
        cells = int(np.count_nonzero(voxels >= least))
        if cells > most:
            best, most = sample, cells
        if cells >= FEW_CELLS:
            break
    return best


def _cut_to_volume(sample: Sample) -> Sample:
    """The part of a sample that lies in its volume; the rest is a reflection."""
    inside = np.argwhere(sample.known)
    box = Box(vec3(inside.min(axis=0)), vec3(inside.max(axis=0) + 1)) if len(inside) else Box.of_shape((1, 1, 1))
    return sample.each(lambda array: array[box.slices()].copy())


def segment_crop(image: NDArray[np.float32], network: nn.Module, card: ModelCard) -> NDArray[np.uint32]:
    """Segment a normalised image (c, z, y, x) on the working grid in memory, in the dtype of the network."""
    maps = predict_whole(image, network, patch=card.patch, margin=card.margin, stride=card.stride)
    radius = card.diameter_vox / 2
    filters = Filters(min_volume_vox=smallest_volume(radius), min_foreground=card.min_foreground or None)
    return label_maps(maps, radius, filters=filters)


def score_regions(network: nn.Module, regions: Sequence[Region], card: ModelCard) -> dict[str, float]:
    """Mean Dice of the true cells and AP at IoU 0.5, each averaged over the regions.

    Pieces of cells at a region's border count as cells, except those that are too small to be kept. Voxels whose
    truth is unknown do not count.
    """
    found, least = [], math.ceil(smallest_volume(card.diameter_vox / 2))
    for region in regions:
        image, labels, known = region.sample
        overlaps = count_overlaps(segment_crop(image, network, card)[known], labels[known])
        scores = score_overlaps(overlaps, min_truth_vox=least)
        found.append([float(scores[name] or 0) for name in ("mean_dice", "ap50")])
    dice, ap50 = np.mean(found, axis=0)
    return dict(zip(ON_REGIONS, (float(dice), float(ap50)), strict=True))
