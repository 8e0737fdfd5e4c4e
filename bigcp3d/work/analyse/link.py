"""Reads labels of two time points block by block, and counts the voxels that their cells share."""

from __future__ import annotations

from bigcp3d.edge.image.voxels import read_box
from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.score.overlaps import Overlaps, between_cells, count_overlaps
from bigcp3d.work.analyse.measure import Measurement


def share_voxels(what: Measurement, time: int, index: Vec3) -> Overlaps:
    """Voxels of a block that cells of a time point (``pred``) and of the next (``truth``) share; no background."""
    box = what.grid.core(index)
    before, after = (read_box(what.labels, 0, box, time=t) for t in (time, time + 1))
    return between_cells(count_overlaps(before, after))
