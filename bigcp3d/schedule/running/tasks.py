"""The tasks of a plan, and which tasks each waits for.

A task is a pass on a block, with the key ``(name, time, index)``. Every task follows those that it waits for, so the
serial executor runs the list from start to end; Dask gets the same list. Which blocks it reads follows from geometry
(`bigcp3d.work.plan.task_inputs`), so blocks may be thinner than a halo::

    normalise -> predict -> [merge ->] track -> cluster -> [join -> check, vote ->] resolve   phase "objects"
    label -> pyramid                                                                         phase "labels"

In a large run, ``stitch`` comes before `join`, and ``gather`` and ``filter`` before `resolve`
(`bigcp3d.work.passes.resolve`).
The label arrays are made between the phases, because their dtype follows from the number of cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.label.pooling_box import pool_read_box
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.plan.task_inputs import Inputs, blocks_of, neighbours
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
    "vote",
    "gather",
    "filter",
    "resolve",
    "label",
    "pyramid",
)
"""Tasks of later passes run first, so that intermediate files are soon used and removed."""


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


def object_tasks(plan: Plan) -> Iterator[Task]:
    """Tasks from the image to the object table and ids, for every time point."""
    inputs = Inputs(plan)
    for time in plan.where.times:
        yield from _latest_first([*_map_tasks(plan, time), *_block_tasks(plan, inputs, time)])


def _map_tasks(plan: Plan, time: int) -> Iterator[Task]:
    yield Task(("normalise", time, ONCE), (), 0)
    if plan.given.maps is not None:
        return
    blocks, mapped = plan.patch_blocks, plan.scope.mapped
    predicted = blocks.filling(mapped)
    for index in predicted:
        yield Task(("predict", time, index), (("normalise", time, ONCE),), blocks.grid.core(index).size)
    there = set(predicted)
    for index in blocks.grid.touching(mapped) if blocks.hand_over else ():
        givers = tuple(("predict", time, giver) for giver in blocks.meeting(index) if giver in there)
        yield Task(("merge", time, index), givers, blocks.grid.core(index).size)


def _block_tasks(plan: Plan, inputs: Inputs, time: int) -> Iterator[Task]:
    grid, scope = plan.grid, plan.scope
    tracked, clustered = grid.touching(scope.tracked), grid.touching(scope.clustered)
    maps_pass = "merge" if plan.patch_blocks.hand_over else "predict"
    for index in tracked:
        needs = tuple((maps_pass, time, other) for other in inputs.of("track", index).get("maps", ()))
        yield Task(("track", time, index), needs or (("normalise", time, ONCE),), grid.core(index).size)
    for index in clustered:
        needs = tuple(("track", time, other) for other in inputs.of("cluster", index).get("sinks", ()))
        yield Task(("cluster", time, index), needs or (("normalise", time, ONCE),), grid.core(index).size)
    yield from _once_tasks(plan, time, clustered)


def _once_tasks(plan: Plan, time: int, clustered: Sequence[Vec3]) -> Iterator[Task]:
    """From components to ids: tasks that run once, and what comes between them."""
    last: tuple[Key, ...] = tuple(("cluster", time, index) for index in clustered)
    if plan.stitches:
        for index in clustered:
            near = tuple(("cluster", time, other) for other in neighbours(plan, index))
            yield Task(("stitch", time, index), near, plan.grid.core(index).size)
        last = tuple(("stitch", time, index) for index in clustered)
    if plan.joins_first or plan.stitches:
        joined = ("join", time, ONCE)
        yield Task(joined, last, 0)
        more = []
        for name in ("check", "vote"):
            grid, blocks = blocks_of(plan, name)
            more += [Task((name, time, index), (joined,), grid.core(index).size) for index in blocks]
        yield from more
        last = tuple(task.key for task in more) or (joined,)
    if plan.stitches:
        gathered = ("gather", time, ONCE)
        yield Task(gathered, last, 0)
        filters = [Task(("filter", time, (part, 0, 0)), (gathered,), 0) for part in range(plan.id_ranges.number)]
        yield from filters
        last = tuple(task.key for task in filters)
    yield Task(("resolve", time, ONCE), last, 0)


def _latest_first(tasks: Sequence[Task]) -> Iterator[Task]:
    """Order tasks as Dask does: of those that can run, first one of the latest pass."""
    waits = [len(task.needs) for task in tasks]
    followers: dict[Key, list[int]] = {}
    for number, task in enumerate(tasks):
        for need in task.needs:
            followers.setdefault(need, []).append(number)
    ready = [(-task.priority, number) for number, task in enumerate(tasks) if not task.needs]
    while ready:
        _, number = heappop(ready)
        yield tasks[number]
        for follower in followers.get(tasks[number].key, ()):
            waits[follower] -= 1
            if not waits[follower]:
                heappush(ready, (-tasks[follower].priority, follower))


def label_tasks(plan: Plan) -> Iterator[Task]:
    """Tasks from ids to labels and their pyramid, for every time point, after the object phase."""
    target = plan.output.target
    for time in plan.where.times:
        written = set(plan.label_grid(0).touching(plan.scope.wanted))
        for index in sorted(written):
            yield Task(("label", time, index), (), plan.label_grid(0).core(index).size)
        for level in range(1, len(target.levels)):
            grid, below = plan.label_grid(level), plan.label_grid(level - 1)
            finer, written = written, set()
            for index in grid:
                core = grid.core(index)
                read = pool_read_box(core, target.factors[level], target.levels[level - 1].shape)
                needs = tuple(_label_key(level - 1, time, other) for other in below.touching(read) if other in finer)
                if needs:
                    written.add(index)
                    yield Task(_label_key(level, time, index), needs, core.size)


def count_passes(tasks: Iterable[Task]) -> dict[str, tuple[int, int]]:
    """The number of tasks of each pass, and of their voxels."""
    counts: dict[str, tuple[int, int]] = {}
    for task in tasks:
        number, voxels = counts.get(task.key[0], (0, 0))
        counts[task.key[0]] = number + 1, voxels + task.voxels
    return counts


def _label_key(level: int, time: int, index: Vec3) -> Key:
    return ("pyramid", time, (level, *index)) if level else ("label", time, index)
