"""Which voxels the passes of a run have to fill, and so which blocks have tasks: all, or those that a region needs.

Labels are wanted in a box. A voxel's end point lies within ``reach`` of it. A closed voxel lies within the closing
radius ``closing`` of an end point, and depends on end points within ``2 * closing``. An end point is known once all
voxels within ``reach`` of it are tracked, and tracking reads maps within ``reach``. So boxes grow from each pass to the
one before it::

    labelled    the wanted box on the working grid, and what its voxels look at there
    tracked     labelled + 2 x reach + 3 x closing     voxels that walk; the others count as background
    mapped      tracked + reach                        voxels whose maps are complete (at least what `halo` asks)
    clustered   tracked + reach + closing              all closed voxels of what was tracked

These boxes follow from the wanted box alone, never from blocks; if it is the whole volume, so are they.

A cell with all its voxels in the wanted box is therefore the same as in the whole volume, and passes the same filters
(provided that its closed end points lie within ``reach + closing`` of the box, as those of its voxels do). A cell that
the box cuts is that of a volume whose foreground ends at ``tracked``.
"""

from __future__ import annotations

from dataclasses import dataclass

from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.grid import Factors
from bigcp3d.pure.label.deciding_box import deciding_box, halo


@dataclass(frozen=True)
class Scope:
    """Boxes that the passes have to fill: ``wanted`` of the label image (level 0), the others of the working grid."""

    wanted: Box
    labelled: Box
    tracked: Box
    mapped: Box
    clustered: Box

    @classmethod
    def of(cls, wanted: Box, label_factors: Factors, shape: Vec3, *, reach: int, closing: int) -> Scope:
        """What labels in ``wanted`` need, on a working grid of ``shape``."""
        labelled = deciding_box(wanted, label_factors, shape)
        tracked = labelled.grow(2 * reach + 3 * closing).clip(shape)
        return cls(
            wanted=wanted,
            labelled=labelled,
            tracked=tracked,
            mapped=tracked.grow(max(reach, halo(label_factors))).clip(shape),
            clustered=tracked.grow(reach + closing).clip(shape),
        )
