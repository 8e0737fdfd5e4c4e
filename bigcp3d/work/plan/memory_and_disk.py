"""How much memory the tasks of a plan need, and how much disk space a run takes, before anything runs."""

from __future__ import annotations

import math

import numpy as np

from bigcp3d.edge.stores.places import is_address
from bigcp3d.edge.stores.read_cache import REMEMBERED_BYTES
from bigcp3d.pure import memory
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.grid import image_box
from bigcp3d.pure.label.deciding_box import deciding_box
from bigcp3d.pure.predict.normalise import sample_boxes
from bigcp3d.pure.prepare.steps import margin_of
from bigcp3d.work.plan import id_ranges
from bigcp3d.work.plan.plan import Plan

FILES_PER_BLOCK = 11
"""Six records, and the tables and shards that stay until the end of a large run."""

READ_IMAGE = ("normalise", "predict", "track")
"""Passes that read the image; from an object store they cache a little of it (`bigcp3d.edge.stores.read_cache`)."""


def task_bytes(plan: Plan) -> dict[str, int]:
    """Peak bytes of one task of each pass, beyond an idle worker."""
    image, card, target = plan.source.image, plan.prediction.card, plan.output.target
    core = plan.grid.core(_inner(plan.grid))
    blocks = plan.patch_blocks
    most = _inner(blocks.grid)
    layers = [plan.patches.read_box(layer) for layer in blocks.layers(most)]
    reads = [image_box(layer, plan.sampling.factors, plan.image_shape) for layer in layers]
    label_core = plan.label_grid(0).core(_inner(plan.label_grid(0)))
    passes = memory.pass_bytes(
        block=core.shape,
        itemsize=np.dtype(image.dtype).itemsize,
        reach=plan.tracking.reach,
        radius=plan.grouping.closing_vox,
        label_block=label_core.shape,
        label_working=deciding_box(label_core, plan.output.label_factors, plan.shape).shape,
        looking_halo=plan.looking_halo,
        label_itemsize=np.dtype(target.dtype).itemsize,
        sample_vox=sum(box.size for box in sample_boxes(plan.image_shape)),
        maps_itemsize=plan.given.itemsize,
    )
    if plan.stitches:
        passes["filter"] = id_ranges.CELL_BYTES * id_ranges.CELLS
    sampled = sample_boxes(plan.image_shape, margin_of(plan.prediction.prepare, plan.image_shape))
    if plan.predicts:
        passes |= memory.prediction_bytes(
            read_vox=max(read.size for read in reads),
            layer_vox=max(layer.size for layer in layers),
            extent_vox=blocks.extent(most).size,
            map_vox=blocks.grid.core(most).size,
            shell_vox=sum(box.size for box in blocks.shell(most)),
            hand_over=blocks.hand_over,
            patch_bytes=plan.running.threads * card.patch_bytes(plan.prediction.patch, len(plan.source.channels))
            if card
            else 0,
            itemsize=np.dtype(image.dtype).itemsize,
            channels=len(plan.source.channels),
            prepared_bytes=max(_prepared_bytes(plan, read) for read in reads),
        )
        passes["normalise"] = max(passes["normalise"], *(_prepared_bytes(plan, box) for box in sampled))
    remembered = REMEMBERED_BYTES if is_address(image.path) else 0
    return {name: need + (remembered if name in READ_IMAGE else 0) for name, need in passes.items()}


def _prepared_bytes(plan: Plan, box: Box) -> int:
    """Peak bytes of the filters before the network where they fill a box of the image; 0 without filters."""
    steps = plan.prediction.prepare
    grown = box.grow(margin_of(steps, plan.image_shape)).clip(plan.image_shape)
    return grown.size * max((step.bytes_per_vox for step in steps), default=0)


def worker_bytes(plan: Plan, threads: int = 1) -> int:
    """Peak bytes of a worker that runs so many tasks at once."""
    return memory.BASE_BYTES + threads * max(task_bytes(plan).values())


def most_files(plan: Plan) -> int:
    """Files in the work directory, at most: records and tables of each block, and its shards."""
    return FILES_PER_BLOCK * len(plan.grid) * len(plan.where.times)


def disk_bytes(plan: Plan) -> dict[str, int]:
    """Uncompressed bytes of what is written, at most; typical volumes compress three to ten times."""
    scope, grid, target, times = plan.scope, plan.label_grid(0), plan.output.target, len(plan.where.times)
    share = sum(grid.core(index).size for index in grid.touching(scope.wanted)) / Box.of_shape(grid.shape).size
    labels = sum(Box.of_shape(level.shape).size for level in target.levels) * times
    blocks = plan.patch_blocks
    inner = _inner(blocks.grid)
    final, extent = blocks.inner(inner).size, blocks.extent(inner).size
    waiting = min(2 * math.prod(blocks.grid.counts[1:]), len(blocks.grid))  # two layers, in raster order
    return {
        "maps": 4 * scope.mapped.size * times if plan.predicts else 0,
        "parts": waiting * (4 * final + 16 * (extent - final)) if blocks.hand_over and plan.predicts else 0,
        "offsets": 3 * scope.tracked.size * times,
        "labels": math.ceil(labels * share) * np.dtype(target.dtype).itemsize,
    }


def _inner(grid: BlockGrid) -> Vec3:
    """A whole block, with neighbours on all sides where there is one."""
    return vec3((n - 1) // 2 for n in grid.counts)
