"""Which tasks read which blocks, for tasks on one block grid and files on another.

A task reads a box, and so every block that the box meets. Boxes and blocks are products of intervals, so the blocks
that a task reads along one axis depend on the task's index on that axis alone::

    blocks     |  0  |  1  |  2  |  3  |         task 1 reads blocks 0 to 2;
    box of task 1:  [-----------]                block 2 is read by the tasks whose boxes meet it

The tasks that read a block are found by inverting this relation, so the two directions always agree.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3

Axis = tuple[Sequence[int], ...]
"""For each index on one axis, the indices that belong to it, ascending."""


@dataclass(frozen=True)
class Neighbours:
    """Blocks by task and tasks by block, along z, y and x."""

    reads: tuple[Axis, Axis, Axis]
    read_by: tuple[Axis, Axis, Axis]

    @classmethod
    def of(cls, tasks: BlockGrid, blocks: BlockGrid, box_of: Callable[[Vec3], Box]) -> Neighbours:
        """The relation in which task ``index`` reads the blocks that meet ``box_of(index)``.

        ``tasks`` and ``blocks`` may cover different volumes; the box is one of the volume of ``blocks``. On each axis
        it depends on the index on that axis alone, and it is empty where no task runs.
        """
        reads = [_along(axis, tasks, blocks, box_of) for axis in range(3)]
        z, y, x = (_inverted(row, blocks.counts[axis]) for axis, row in enumerate(reads))
        return cls((reads[0], reads[1], reads[2]), (z, y, x))

    def read(self, task: Vec3) -> list[Vec3]:
        """Blocks that a task reads, in raster order."""
        return list(_product(self.reads, task))

    def readers(self, block: Vec3) -> Iterator[Vec3]:
        """Tasks that read a block, the last in raster order first: usually the last to finish."""
        return _product(self.read_by, block, step=-1)


def _along(axis: int, tasks: BlockGrid, blocks: BlockGrid, box_of: Callable[[Vec3], Box]) -> Axis:
    """Blocks that tasks read on one axis."""
    rows = []
    for i in range(tasks.counts[axis]):
        box = box_of(vec3(i if a == axis else 0 for a in range(3)))
        along = Box(_corner(axis, box.start, 0), _corner(axis, box.stop, 1))
        rows.append([block[axis] for block in blocks.touching(along)])
    return tuple(rows)


def _corner(axis: int, corner: Vec3, value: int) -> Vec3:
    """The corner's coordinate on one axis, ``value`` on the others."""
    return vec3(v if a == axis else value for a, v in enumerate(corner))


def _inverted(reads: Axis, blocks: int) -> Axis:
    """Tasks that read each block on one axis."""
    rows: list[list[int]] = [[] for _ in range(blocks)]
    for task, row in enumerate(reads):
        for block in row:
            rows[block].append(task)
    return tuple(rows)


def _product(axes: tuple[Axis, Axis, Axis], index: Vec3, *, step: int = 1) -> Iterator[Vec3]:
    return itertools.product(*(axis[i][::step] for axis, i in zip(axes, index, strict=True)))  # type: ignore[return-value]
