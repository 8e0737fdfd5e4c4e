"""The graph as data: which tasks a plan has, and what each waits for.

A task is a pass on a block. Its key says it all: ``(name, time, index)``. The list is in an order in which every task
follows what it waits for, so the serial executor just walks it; Dask gets the same list. Neighbours follow from
geometry (how far a pass reads) and not from counting to 27, so blocks may be thinner than a halo::

    normalise -> predict -> [merge ->] track -> cluster -> [join -> check ->] resolve        phase "objects"
    label -> pyramid                                                                         phase "labels"

Between the phases the label arrays are made, since only then the number of cells, hence the dtype, is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.pooling import pool_read_box
from bigcp3d.work.plan import Plan
from bigcp3d.work.run import ONCE

Key = tuple[str, int, tuple[int, ...]]
"""Pass, time point, block index (with the level in front for ``pyramid``)."""

PASS_ORDER = ("normalise", "predict", "merge", "track", "cluster", "join", "check", "resolve", "label", "pyramid")
"""Later passes first, so that intermediate arrays are used while they are warm and no pass waits for a whole one."""


@dataclass(frozen=True)
class Task:
    """One pass on one block, and the keys that it waits for."""

    key: Key
    needs: tuple[Key, ...]
    voxels: int

    @property
    def priority(self) -> int:
        """Larger runs first."""
        return PASS_ORDER.index(self.key[0])


def object_tasks(plan: Plan) -> Iterator[Task]:
    """From the image to the object table and ids, for every time point."""
    grid = plan.grid
    maps_pass = "merge" if plan.patch_blocks.hand_over else "predict"

    def keys(name: str, time: int, box: Box) -> tuple[Key, ...]:
        return tuple((name, time, index) for index in grid.touching(box))

    for time in plan.times:
        yield Task(("normalise", time, ONCE), (), 0)
        start: tuple[Key, ...] = (("normalise", time, ONCE),)
        if plan.maps is None:
            yield from _map_tasks(plan, time, start)
        for index in grid:
            core = grid.core(index)
            needs = start
            if plan.maps is None:
                near = plan.patch_blocks.grid.touching(core.grow(plan.reach))
                needs = tuple((maps_pass, time, other) for other in near)
            yield Task(("track", time, index), needs, core.size)
        for index in grid:
            core = grid.core(index)
            needs = keys("track", time, core.grow(plan.reach + 2 * plan.radius))
            yield Task(("cluster", time, index), needs, core.size)
        last = tuple(("cluster", time, index) for index in grid)
        if plan.checks_flow:
            yield Task(("join", time, ONCE), last, 0)
            for index in grid:
                yield Task(("check", time, index), (("join", time, ONCE),), grid.core(index).size)
            last = tuple(("check", time, index) for index in grid)
        yield Task(("resolve", time, ONCE), last, 0)


def _map_tasks(plan: Plan, time: int, needs: tuple[Key, ...]) -> Iterator[Task]:
    """From the image to maps; a block is merged as soon as its last neighbour is predicted, so that little waits."""
    blocks = plan.patch_blocks
    for index in blocks.grid:
        yield Task(("predict", time, index), needs, blocks.grid.core(index).size)
        if blocks.hand_over:
            for other in blocks.meeting(index):
                givers = blocks.meeting(other)
                if givers[-1] == index:
                    merged = tuple(("predict", time, giver) for giver in givers)
                    yield Task(("merge", time, other), merged, blocks.grid.core(other).size)


def label_tasks(plan: Plan) -> Iterator[Task]:
    """From ids to labels and their pyramid, for every time point; the object phase is over."""
    for time in plan.times:
        for index in plan.label_grid(0):
            yield Task(("label", time, index), (), plan.label_grid(0).core(index).size)
        for level in range(1, len(plan.target.levels)):
            grid, below = plan.label_grid(level), plan.label_grid(level - 1)
            for index in grid:
                core = grid.core(index)
                read = pool_read_box(core, plan.target.factors[level], plan.target.levels[level - 1].shape)
                needs = tuple(_label_key(level - 1, time, other) for other in below.touching(read))
                yield Task(_label_key(level, time, index), needs, core.size)


def _label_key(level: int, time: int, index: Vec3) -> Key:
    return ("pyramid", time, (level, *index)) if level else ("label", time, index)
