"""The cells of labels to train from, measured: where they are, and how large."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.group.objects import centroids
from bigcp3d.pure.score.overlaps import Ids
from bigcp3d.work.analyse.measure import sum_box, warn_of_unknown

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingCells:
    """Ids, voxels, centroids (n, 3) in voxels, and whether a cell touches the border, of all cells of a volume.

    In the order of their first voxels, so that what is drawn from them does not depend on the ids.
    """

    ids: Ids
    count: NDArray[np.int64]
    centre: NDArray[np.float64]
    cut: NDArray[np.bool_]


def measure_cells(labels: ImageInfo, box: Box) -> TrainingCells:
    """Measure the cells in a box of labels, which counts as the whole volume; time point 0."""
    found = sum_box(labels, box, 0)
    sums = found.sums
    cut = np.any((sums.low == box.start) | (sums.high == box.stop), axis=1)
    warn_of_unknown(labels.path, found.unknown_vox)
    order = np.argsort(sums.first)
    return TrainingCells(found.ids[order], sums.count[order], centroids(sums)[order], cut[order])


def measure_diameter(cells: TrainingCells, scale: Sequence[float], name: str) -> float:
    """Median diameter, as a ball, of the whole cells (of all, if under five are whole), in units of ``scale``."""
    if len(cells.ids) == 0:
        raise InputError(f"{name}: these labels are empty, but training needs cells; check the name of the labels")
    whole = ~cells.cut
    if (n := whole.sum()) < 5:
        log.warning(
            "%s: only %d cells are whole, so cells that the border cuts were measured too; give --diameter",
            name,
            n,
        )
        whole[:] = True
    return float(np.median((6 / np.pi * cells.count[whole] * np.prod(scale)) ** (1 / 3)))
