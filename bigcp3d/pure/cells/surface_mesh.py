"""The surface of a cell as triangles, to be shown in 3D."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Vec3

SMOOTH_VOX = 1.0
"""Standard deviation of the Gaussian that takes the steps of voxels away."""
PAD = 3


def mesh_surface(mask: NDArray[np.bool_], start: Vec3 = (0, 0, 0)) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Corners (n, 3) and triangles (m, 3) of the surface of a mask (z, y, x), by marching cubes of scikit-image.

    Corners are z, y, x in voxels, whose centres are whole numbers; the mask begins at voxel ``start``. The surface is
    smoothed, unless nothing would be left of a thin cell. Without voxels there are no triangles.
    """
    from skimage.filters import gaussian
    from skimage.measure import marching_cubes

    if not mask.any():
        return np.empty((0, 3), np.float32), np.empty((0, 3), np.uint32)
    padded = np.pad(mask, PAD).astype(np.float32)
    smooth = gaussian(padded, SMOOTH_VOX, preserve_range=True)
    corners, triangles, _, _ = marching_cubes(smooth if smooth.max() > 0.5 else padded, 0.5)
    return (corners - PAD + np.asarray(start)).astype(np.float32), triangles.astype(np.uint32)
