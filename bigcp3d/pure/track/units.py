"""Units and limits of paths that all layers know. Imports nothing, since a plan needs them and numba takes a second."""

from __future__ import annotations

UNIT = 127
"""Positions are counted in 1/127 voxel, the unit of the stored flow."""

UNASSIGNED = -128
"""Stored in all three offsets of a voxel that is background, or whose path goes beyond ``reach``."""

MAX_REACH = 127
"""Longest path in voxels on an axis, as offsets are stored in int8."""
