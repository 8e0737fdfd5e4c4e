"""What follows from the expected radius of a cell: how far paths go, what is closed, what is too small.

One place for runs (`bigcp3d.schedule.planning.make_plan`), for labels in memory (`bigcp3d.pure.in_memory`) and for
validation.
"""

from __future__ import annotations

import math

MIN_VOLUME_SHARE = 1 / 40
"""Smallest cell kept by default, as a share of the ball of the expected radius: what a volume's border leaves of a cell
may be small. See the design page for what a twentieth lost."""


def path_reach(radius_vox: float) -> int:
    """Voxels that a path may lead away from its start, on each axis."""
    return math.ceil(3 * radius_vox)


def path_steps(radius_vox: float) -> int:
    """Most steps of a path."""
    return max(50, math.ceil(10 * radius_vox))


def closing_radius(radius_vox: float) -> int:
    """Radius of the ball that closes gaps between end points, in voxels."""
    return int(radius_vox) // 2


def smallest_volume(radius_vox: float) -> float:
    """Smallest cell that is kept by default, in voxels."""
    return MIN_VOLUME_SHARE * 4 / 3 * math.pi * radius_vox**3
