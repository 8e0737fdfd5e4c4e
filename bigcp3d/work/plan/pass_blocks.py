"""Which blocks a pass has: those blocks of its grid that meet the box that it has to fill.

For a region, the boxes are smaller than the volume (`bigcp3d.work.plan.scope`). The passes that run once for a time
point or for a range of objects (``normalise``, ``join``, ``gather``, ``filter``, ``resolve``) have no blocks.
"""

from __future__ import annotations

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3
from bigcp3d.pure.label.pooling_box import pool_touched_box
from bigcp3d.work.plan.plan import Plan

ON_BLOCKS = ("predict", "merge", "track", "cluster", "stitch", "check", "label", "pyramid")
"""Passes that have blocks."""


def part_of(plan: Plan, name: str, level: int = 0) -> tuple[BlockGrid, Box]:
    """The grid of a pass in `ON_BLOCKS`, and the box that it fills; ``level`` is that of ``pyramid``."""
    scope = plan.scope
    if name == "predict":
        return plan.patch_blocks.grid, scope.mapped.grow(plan.patches.margin).clip(plan.shape)
    if name == "merge":
        return plan.patch_blocks.grid, scope.mapped
    if name == "label":
        return plan.label_grid(0), scope.wanted
    if name == "pyramid":
        return plan.label_grid(level), _coarser_part(plan, level)
    return plan.grid, scope.tracked if name in ("track", "check") else scope.clustered


def _coarser_part(plan: Plan, level: int) -> Box:
    """The voxels of a level that depend on the blocks of the level below."""
    finer, part = part_of(plan, "pyramid" if level > 1 else "label", level - 1)
    factors, shape = plan.output.target.factors[level], plan.label_grid(level).shape
    return pool_touched_box(finer.covered(part), factors, shape, finer.shape)


def filled_voxels(plan: Plan, name: str, index: Vec3, level: int = 0) -> int:
    """The number of voxels that the task of a block has to fill; 0 for a pass without blocks."""
    if name not in ON_BLOCKS:
        return 0
    grid, part = part_of(plan, name, level)
    return grid.core(index).intersect(part).size


def count_patches(plan: Plan) -> int:
    """Patches that the network computes, over all time points; a mask may spare some of them."""
    if not plan.predicts:
        return 0
    return plan.patches.cores.count_touching(part_of(plan, "predict")[1]) * len(plan.where.times)
