"""The cells that a network finds in a crop, as numbers: their sizes, and how well the predicted flow fits them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.pure.boxes import Box, vec3
from bigcp3d.pure.cells.found import FEW_CELLS, Found
from bigcp3d.pure.group.filters import Filters
from bigcp3d.pure.group.objects import flow_errors, keep_objects
from bigcp3d.pure.in_memory import Limits, find_in, find_objects
from bigcp3d.pure.track.radius import smallest_volume

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class CropCells:
    """Cells found in a crop, or in several: one number a cell, (n,) each; volumes are in working voxels."""

    volume: NDArray[np.int64]
    whole: NDArray[np.bool_]
    """False where the crop's border cuts the cell."""
    flow_error: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.volume)

    @property
    def counted(self) -> CropCells:
        """The whole cells, or all if few are whole."""
        return self._take(self.whole) if self.whole.sum() >= FEW_CELLS else self

    @property
    def mean_error(self) -> float:
        """Mean flow error of the cells, each voxel counting once; infinite without cells."""
        return float(np.average(self.flow_error, weights=self.volume)) if len(self) else math.inf

    def _take(self, which: NDArray[np.bool_]) -> CropCells:
        return CropCells(**{name: column[which] for name, column in vars(self).items()})

    @classmethod
    def concatenate(cls, parts: Sequence[CropCells]) -> CropCells:
        """The cells of several crops."""
        columns = vars(parts[0])
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in columns})


def find_cells(image: NDArray[np.float32], network: nn.Module, card: ModelCard) -> tuple[CropCells, Found]:
    """The cells in a normalised crop (c, z, y, x) on the working grid, and the numbers that say how plausible they are.

    The network computes in its own dtype. The model's defaults decide which objects are cells.
    """
    from bigcp3d.pure.predict.run_network import fix_arithmetic, predict_whole  # imports torch

    fix_arithmetic()  # in the thread that computes this crop

    shape, radius = vec3(image.shape[1:]), card.diameter_vox / 2
    box = Box.of_shape(shape)
    maps = predict_whole(image, network, patch=card.patch, margin=card.margin, stride=card.stride)
    objects = find_objects(maps, box, box, shape, Limits.of(radius))
    sums = objects.components.sums
    errors = flow_errors(objects.squares(card.representation, card.scale_vox), sums)
    filters = Filters(min_volume_vox=smallest_volume(radius), min_foreground=card.min_foreground or None)
    keep, removed = keep_objects(sums, filters)
    kept = sums.take(np.flatnonzero(keep))
    whole = ~np.any((kept.low == 0) | (kept.high == np.array(shape)), axis=1)
    found = find_in(objects, keep, removed, representation=card.representation, scale_vox=card.scale_vox)
    return CropCells(kept.count, whole, errors[keep]), found
