"""Defaults that follow from a cell's expected radius: length of paths, gaps that are closed, smallest cell.

Runs (`bigcp3d.schedule.planning.make_plan`), labels in memory (`bigcp3d.pure.in_memory`) and validation use them.
"""

from __future__ import annotations

import math

MIN_VOLUME_SHARE = 1 / 40
"""Smallest cell kept by default, as a share of the ball of the expected radius; small, since a volume's border may
leave little of a cell."""


def path_reach(radius_vox: float) -> int:
    """Largest distance of a path from its start on each axis, in voxels."""
    return math.ceil(3 * radius_vox)


def expected_diameter(reach_vox: int) -> float:
    """Diameter of the cells for which paths reach so far, in voxels, less than 0.7 too much."""
    return 2 / 3 * reach_vox


def path_steps(radius_vox: float) -> int:
    """Most steps of a path."""
    return max(50, math.ceil(10 * radius_vox))


def closing_radius(radius_vox: float) -> int:
    """Radius of the ball that closes gaps between end points, in voxels: about a quarter of the cell's radius.

    A ball of half the radius would join touching cells that are much smaller than expected. Membranes of cells half as
    wide as expected: mean Dice 0.63 with half the radius, 0.76 with a quarter. For larger cells it makes no difference.
    """
    return int(radius_vox + 2) // 4


def smallest_volume(radius_vox: float) -> float:
    """Smallest cell that is kept by default, in voxels."""
    return MIN_VOLUME_SHARE * 4 / 3 * math.pi * radius_vox**3
