"""Which objects are kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Filters:
    """Which objects are kept; None switches a filter off.

    Attributes
    ----------
    min_volume_vox, max_volume_vox : float
        Volume in voxels of the working grid, inclusive.
    min_foreground : float
        Mean predicted foreground over the cell's voxels, 0 to 1.
    max_elongation : float
        Longest over shortest principal axis, 1 for a ball.
    max_flow_error : float
        Mean squared difference between the predicted flow and the straight flow to the object's centre, in
        (voxels per step) squared, summed over the axes.
    """

    min_volume_vox: float | None = None
    max_volume_vox: float | None = None
    min_foreground: float | None = None
    max_elongation: float | None = None
    max_flow_error: float | None = None
