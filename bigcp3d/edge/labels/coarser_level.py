"""Makes labels of a coarser level from the level below, in bounded memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.labels.labels import read_label_box
from bigcp3d.pure.boxes import BlockGrid, Box, vec3
from bigcp3d.pure.label.pooling import pool_labels
from bigcp3d.pure.label.pooling_box import pool_read_box


def make_coarser(target: LabelTarget, level: int, box: Box, *, time: int = 0) -> NDArray[Any]:
    """Labels of a box of a coarser level. About a shard of the level below is held at a time."""
    factors, below = target.factors[level], target.levels[level - 1]
    side = vec3(-(-s // math.ceil(f)) for s, f in zip(target.shard, factors, strict=True))
    parts, coarser = BlockGrid(target.levels[level].shape, side), np.empty(box.shape, target.dtype)
    for index in parts.touching(box):
        part = parts.core(index).intersect(box)
        wanted = pool_read_box(part, factors, below.shape)
        finer = read_label_box(target, level - 1, wanted, time=time)
        coarser[part.slices(box.start)] = pool_labels(finer, wanted, part, factors)
    return coarser
