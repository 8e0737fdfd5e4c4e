"""Finds the objects of a region in memory, then filters, numbers and scores them for each trial of a sweep."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box
from bigcp3d.pure.cells.plausibility import find_oddities
from bigcp3d.pure.grid import spread_labels
from bigcp3d.pure.group.objects import dense_ids, keep_objects
from bigcp3d.pure.in_memory import Limits, find_in, find_objects
from bigcp3d.pure.label.deciding_box import deciding_box
from bigcp3d.pure.label.look_ahead import label_image_box
from bigcp3d.pure.score.metrics import Number, score_overlaps
from bigcp3d.pure.score.overlaps import count_overlaps, count_unknown
from bigcp3d.work.plan.plan import Plan


@dataclass(frozen=True, eq=False)
class Trial:
    """The result of one combination of settings in the region.

    Attributes
    ----------
    settings : dict
        The settings that were tried, by name of `Request`.
    labels : ndarray of uint32
        Of the region, in voxels of the image's level 0.
    cells : int
        Cells with a voxel in the region.
    removed : dict of str to int
        Objects that each filter removed.
    volumes : ndarray of float, shape (cells,)
        Of whole cells, in voxels of level 0 (computed from those of the working grid).
    foreground_vox, unassigned_vox : int
        Working voxels of the region and its surroundings that are foreground; those of them that reached no cell.
    scores : dict or None
        With a truth: `bigcp3d.pure.score.metrics` in the region, where pieces of cells at its border count as cells.
    odd : tuple of str
        What is odd about the cells of the region and its surroundings (`bigcp3d.pure.cells.plausibility`), in a word or
        two each.
    """

    settings: dict[str, float | str]
    labels: NDArray[np.uint32]
    cells: int
    removed: dict[str, int]
    volumes: NDArray[np.float64]
    foreground_vox: int
    unassigned_vox: int
    scores: dict[str, Number] | None
    odd: tuple[str, ...] = ()


def limits_of(plan: Plan) -> Limits:
    """The settings on which the objects depend; the filters come later."""
    return Limits(plan.tracking.foreground, plan.tracking.steps, plan.tracking.reach, plan.grouping.closing_vox)


class RegionObjects:
    """All objects of a region before any filter, with what the filters need."""

    def __init__(self, plan: Plan, maps: NDArray[np.int8], mapped: Box, threads: int) -> None:
        """Track and group; ``maps`` are those of the box ``mapped``."""
        self.plan = plan
        self.found = find_objects(maps, mapped, plan.scope.tracked, plan.shape, limits_of(plan), threads=threads)
        sums = self.found.components.sums
        self.numbers = numbers = dense_ids(sums, np.ones(len(sums), bool))  # from 1, by the objects' first voxels
        wanted, factors = plan.scope.wanted, plan.output.label_factors
        seen = deciding_box(wanted, factors, plan.shape)
        self.numbered = self.found.label(seen, numbers)
        how = wanted, factors, plan.shape
        if plan.resamples:
            own = maps[(slice(None), *seen.slices(mapped.start))]
            self.numbered = label_image_box(own, self.numbered, seen, *how, foreground=plan.tracking.foreground)
        else:
            self.numbered = spread_labels(self.numbered, seen, *how)
        self.sums = replace(sums, image_vox=np.bincount(self.numbered.ravel(), minlength=len(sums) + 1)[numbers])

    @cached_property
    def squares(self) -> NDArray[np.int64]:
        """Squared flow error of each object."""
        return self.found.squares(self.plan.prediction.representation, self.plan.prediction.scale_vox)

    def try_filters(self, plan: Plan, settings: dict[str, float | str], truth: NDArray[Any] | None) -> Trial:
        """Filter the objects, number those that are kept, and compare them with the truth."""
        sums, squares = self.sums, self.squares if plan.checks_flow else None
        keep, removed = keep_objects(sums, plan.filters, squares, voxel=plan.voxel, among=sums.image_vox > 0)
        ids = np.zeros(len(sums) + 1, np.uint32)
        ids[self.numbers] = dense_ids(sums, keep)
        labels, flow = ids[self.numbered], plan.prediction
        look = find_in(self.found, keep, removed, representation=flow.representation, scale_vox=flow.scale_vox)
        return Trial(
            settings=settings,
            labels=labels,
            cells=int(keep.sum()),
            removed=removed,
            volumes=np.asarray(sums.count[keep] * math.prod(plan.output.label_factors), np.float64),
            foreground_vox=self.found.foreground_vox,
            unassigned_vox=self.found.foreground_vox - int(sums.count.sum()),
            scores=None
            if truth is None
            else score_overlaps(count_overlaps(labels, truth), unknown=count_unknown(labels, truth)),
            odd=tuple(oddity.kind for oddity in find_oddities(look)),
        )
