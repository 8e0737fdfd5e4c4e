"""Gives all cells of labels the ids 1..n in the raster order of their first voxels, shard by shard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.labels.labels import read_label_box
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.score.overlaps import Ids
from bigcp3d.work.analyse.measure import sum_box, warn_of_unknown
from bigcp3d.work.change_labels import parts_of, write_changed


@dataclass(frozen=True, eq=False)
class NewIds:
    """The ids of some cells, ascending, and the id that each gets."""

    old: Ids
    new: Ids


def plan_new_ids(labels: ImageInfo, time: int) -> NewIds:
    """The new ids of all cells of a time point; reads level 0 once."""
    cells = sum_box(labels, Box.of_shape(labels.levels[0].shape), time)
    warn_of_unknown(labels.path, cells.unknown_vox)
    new = np.empty(len(cells.ids), np.uint64)
    new[np.argsort(cells.sums.first)] = np.arange(1, len(new) + 1)
    return NewIds(cells.ids, new)


def renumber_labels(target: LabelTarget, plans: Mapping[int, NewIds]) -> None:
    """Write the new ids at level 0."""
    for time, plan in plans.items():
        for _, part in parts_of(target, [Box.of_shape(target.levels[0].shape)]):
            labels = read_label_box(target, 0, part, time=time)
            known = labels > 0
            if known.any():
                labels[known] = plan.new[np.searchsorted(plan.old, labels[known].astype(np.uint64))]
                write_changed(target, 0, part, labels, time=time)
