"""Where cells may be: a mask given by the user, on the working grid.

A working voxel takes part if the mask's voxel at its centre is above 0, whatever the blocks. Voxels outside count as
background; paths of voxels inside may cross them, with the flow predicted there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.voxels import read_box
from bigcp3d.pure.boxes import Box, Vec3, float3
from bigcp3d.pure.grid import spread_labels, working_box
from bigcp3d.work.run.run import Run

SLAB_VOX = 2**22


def read_mask(run: Run, time: int, box: Box) -> NDArray[np.bool_]:
    """Which voxels of a working box take part; all where no mask was given.

    A mask may be much finer than the working grid, so it is read a few planes at a time, about `SLAB_VOX` voxels.
    """
    mask, level = run.plan.where.mask, run.plan.where.mask_level
    inside = np.ones(box.shape, bool)
    if mask is None or box.empty:
        return inside
    inverse = float3(1 / f for f in run.plan.where.mask_factors)
    size = mask.levels[level].shape
    planes = max(1, SLAB_VOX * box.shape[0] // working_box(box, inverse, size).size)
    for first in range(box.start[0], box.stop[0], planes):
        slab = Box((first, *box.start[1:]), (min(first + planes, box.stop[0]), *box.stop[1:]))
        region = working_box(slab, inverse, size)
        found = (read_box(mask, level, region, time=time if mask.times > 1 else 0) > 0).view(np.uint8)
        inside[slab.slices(box.start)] = spread_labels(found, region, slab, inverse, size)
    return inside


def needed_patches(run: Run, time: int, layers: list[list[Vec3]]) -> list[list[Vec3]]:
    """The patches, by layer, whose maps a voxel of the mask may need; all without a mask.

    Decided for each patch alone, so the blocks do not matter.
    """
    plan = run.plan

    def needed(patch: Vec3) -> bool:
        seen = plan.patches.window(patch).clip(plan.shape).grow(plan.tracking.reach)
        return bool(read_mask(run, time, seen.intersect(plan.scope.tracked)).any())

    return layers if plan.where.mask is None else [list(filter(needed, layer)) for layer in layers]
