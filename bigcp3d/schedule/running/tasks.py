"""The tasks of a plan, and which tasks each waits for.

A task is a pass on a block, with the key ``(name, time, index)``. Every task follows those that it waits for, so the
serial executor runs the list from start to end; Dask gets the same list. Which blocks it reads follows from geometry
(`bigcp3d.work.plan.task_inputs`), so blocks may be thinner than a halo::

    normalise -> predict -> [merge ->] track -> cluster -> [join -> check ->] resolve   phase "objects"
    label -> pyramid                                                                         phase "labels"

In a large run, ``stitch`` comes before `join`, and ``gather`` and ``filter`` before `resolve`
(`bigcp3d.work.passes.resolve`). The label arrays are made between the phases, because their dtype follows from the
number of cells.

Tasks are made one by one, since a large run has millions. The tasks of a pass come in raster order. Before each task
come those tasks of earlier passes that it needs, so intermediate files are soon used and removed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3
from bigcp3d.pure.label.pooling_box import pool_read_box
from bigcp3d.work.plan.pass_blocks import ON_BLOCKS, part_of
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.plan.task_inputs import Inputs, neighbours
from bigcp3d.work.run.work_dir import ONCE

Key = tuple[str, int, tuple[int, ...]]
"""Pass, time point, block index (with the level in front for ``pyramid``)."""

PASS_ORDER = (
    "normalise",
    "predict",
    "merge",
    "track",
    "cluster",
    "stitch",
    "join",
    "check",
    "gather",
    "filter",
    "resolve",
    "label",
    "pyramid",
)
"""Tasks of later passes run first, so that intermediate files are soon used and removed."""

MAP_PASSES = PASS_ORDER[:3]
"""Passes that make the maps."""


@dataclass(frozen=True)
class Task:
    """One pass on one block, and the keys that it waits for."""

    key: Key
    needs: tuple[Key, ...]
    voxels: int

    @property
    def priority(self) -> int:
        """Tasks with a larger number run first."""
        return PASS_ORDER.index(self.key[0])


@dataclass(frozen=True)
class Pass:
    """A pass at one time point, or one level of the pyramid: a task for each block of ``grid`` that meets ``part``.

    ``needs`` gives the keys that the task of a block waits for: tasks of earlier passes. A pass that is not
    `ON_BLOCKS` fills no voxels, and its blocks are only numbers.
    """

    name: str
    time: int
    needs: Callable[[Vec3], Iterable[Key]]
    grid: BlockGrid
    part: Box
    level: tuple[int, ...] = ()

    def key(self, index: Vec3) -> Key:
        """The key of the task of a block."""
        return self.name, self.time, (*self.level, *index)

    def every_key(self) -> Iterator[Key]:
        """The keys of all tasks, in raster order."""
        return map(self.key, self.grid.visit(self.part))

    def tasks(self) -> Iterator[Task]:
        """All tasks, in raster order."""
        for index in self.grid.visit(self.part):
            yield Task(self.key(index), tuple(self.needs(index)), self._voxels(self.grid.core(index)))

    def count(self) -> tuple[int, int]:
        """The number of tasks, and of the voxels that they fill."""
        return self.grid.count_touching(self.part), self._voxels(Box.of_shape(self.grid.shape))

    def _voxels(self, box: Box) -> int:
        """The voxels of a box that the pass fills."""
        return box.intersect(self.part).size if self.name in ON_BLOCKS else 0


def _on_blocks(plan: Plan, name: str, time: int, needs: Callable[[Vec3], Iterable[Key]]) -> Pass:
    """A pass on blocks of the volume."""
    return Pass(name, time, needs, *part_of(plan, name))


def _numbered(name: str, time: int, needs: Callable[[Vec3], Iterable[Key]], number: int = 1) -> Pass:
    """A pass of so many tasks that belong to no block. The first has the index `ONCE`."""
    shape = (number, 1, 1)
    return Pass(name, time, needs, BlockGrid(shape, (1, 1, 1)), Box.of_shape(shape))


def object_passes(plan: Plan) -> list[list[Pass]]:
    """The passes from the image to the object table and ids, in order, for each time point."""
    inputs = Inputs(plan)
    return [[*_map_passes(plan, time), *_block_passes(plan, inputs, time)] for time in plan.where.times]


def label_passes(plan: Plan) -> list[list[Pass]]:
    """The passes from ids to labels and their pyramid, in order, for each time point."""
    return [list(_pyramid_passes(plan, time)) for time in plan.where.times]


def _map_passes(plan: Plan, time: int) -> Iterator[Pass]:
    yield _numbered("normalise", time, lambda _: ())
    if plan.given.maps is not None:
        return
    blocks, first = plan.patch_blocks, ("normalise", time, ONCE)
    predict = _on_blocks(plan, "predict", time, lambda _: (first,))
    yield predict
    if blocks.hand_over:
        grid = predict.grid
        there = grid.covered(predict.part)

        def givers(index: Vec3) -> Iterable[Key]:
            return map(predict.key, grid.visit(blocks.extent(index).intersect(there)))

        yield _on_blocks(plan, "merge", time, givers)


def _block_passes(plan: Plan, inputs: Inputs, time: int) -> Iterator[Pass]:
    maps_pass, first = "merge" if plan.patch_blocks.hand_over else "predict", ("normalise", time, ONCE)

    def maps_of(index: Vec3) -> Iterable[Key]:
        return [(maps_pass, time, other) for other in inputs.of("track", index).get("maps", ())] or (first,)

    def sinks_of(index: Vec3) -> Iterable[Key]:
        return [("track", time, other) for other in inputs.of("cluster", index).get("sinks", ())] or (first,)

    yield _on_blocks(plan, "track", time, maps_of)
    clustered = _on_blocks(plan, "cluster", time, sinks_of)
    yield clustered
    yield from _cell_passes(plan, time, clustered)


def _cell_passes(plan: Plan, time: int, clustered: Pass) -> Iterator[Pass]:
    """From components to cells and ids."""
    last = [clustered]
    if plan.stitches:
        last = [_on_blocks(plan, "stitch", time, lambda index: map(clustered.key, neighbours(plan, index)))]
        yield from last
    if plan.checks_flow or plan.stitches:
        whole = last  # a lambda sees the last value of a name, so each has its own
        join = _numbered("join", time, lambda _: _keys(whole))
        yield join
        last = [join]
    if plan.checks_flow:
        last = [_on_blocks(plan, "check", time, lambda _: join.every_key())]
        yield from last
    if plan.stitches:
        summed = last
        gather = _numbered("gather", time, lambda _: _keys(summed))
        yield gather
        last = [_numbered("filter", time, lambda _: gather.every_key(), plan.id_ranges.number)]
        yield from last
    yield _numbered("resolve", time, lambda _: _keys(last))


def _keys(passes: Iterable[Pass]) -> Iterator[Key]:
    return (key for each in passes for key in each.every_key())


def _pyramid_passes(plan: Plan, time: int) -> Iterator[Pass]:
    below = _on_blocks(plan, "label", time, lambda _: ())
    yield below
    for level in range(1, len(plan.output.target.levels)):
        below = _level(plan, level, below)
        yield below


def _level(plan: Plan, level: int, below: Pass) -> Pass:
    """A coarser level of the pyramid: the blocks that are made from blocks of the level below."""
    grid, part = part_of(plan, "pyramid", level)
    finer, there, factors = below.grid, below.grid.covered(below.part), plan.output.target.factors[level]

    def needs(index: Vec3) -> Iterable[Key]:
        read = pool_read_box(grid.core(index), factors, finer.shape)
        return map(below.key, finer.visit(read.intersect(there)))

    return Pass("pyramid", below.time, needs, grid, part, (level,))


def in_order(times: Iterable[Sequence[Pass]]) -> Iterator[Task]:
    """The tasks of some passes, one time point after the other; each task follows those that it waits for."""
    return itertools.chain.from_iterable(map(_Order, times))


class _Order:
    """Orders the tasks of a time point: before each task come, of earlier passes, those that it needs and no more.

    Each pass comes in raster order. So the place that a pass has reached says which of its tasks were given, and
    nothing else is kept.
    """

    def __init__(self, passes: Sequence[Pass]) -> None:
        self.names = [(each.name, each.level) for each in passes]
        self.coming = {name: each.tasks() for name, each in zip(self.names, passes, strict=True)}
        self.left = {name: each.count()[0] for name, each in zip(self.names, passes, strict=True)}
        self.reached: dict[tuple[str, tuple[int, ...]], tuple[int, ...]] = dict.fromkeys(self.names, ())

    def __iter__(self) -> Iterator[Task]:
        """The last pass to its end, with what it needs; then what is left of the passes before it."""
        for name in reversed(self.names):
            while self.left[name]:
                yield from self._next(name)

    def _next(self, name: tuple[str, tuple[int, ...]]) -> Iterator[Task]:
        """The next task of a pass, after those that it needs."""
        task = next(self.coming[name])
        for need, _, index in task.needs:
            earlier = need, index[:-3]
            while self.reached[earlier] < index:
                yield from self._next(earlier)
        self.left[name] -= 1
        self.reached[name] = task.key[2]
        yield task


def count_passes(times: Iterable[Iterable[Pass]]) -> dict[str, tuple[int, int]]:
    """The number of tasks of each pass, and of their voxels, over all time points and levels."""
    counts: dict[str, tuple[int, int]] = {}
    for each in itertools.chain.from_iterable(times):
        (number, voxels), (more, filled) = counts.get(each.name, (0, 0)), each.count()
        counts[each.name] = number + more, voxels + filled
    return counts
