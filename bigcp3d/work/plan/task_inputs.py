"""Which blocks' files a task reads. The order of tasks and the removal of files follow from it.

A block has up to four large intermediates, in one file each. The tasks that read them::

    pass      reads                of the blocks that meet
    track     maps                 its block + reach, or + what decides which image voxels take its labels
    cluster   sinks                its block + reach + 2 x closing radius
    check     maps, offsets        its block
              components           its block + reach
    label     offsets              what decides its block
              maps                 the same, where the labels are not on the working grid
              components           the same + reach

For a region, tasks and what they read are cut to its boxes (`bigcp3d.work.plan.scope`). `resolve` (or `join`) reads all
components; it is never their last reader, since every ``label`` task waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.label.deciding_box import deciding_box
from bigcp3d.pure.neighbours import Neighbours
from bigcp3d.work.plan.pass_blocks import part_of
from bigcp3d.work.plan.plan import Plan


def neighbours(plan: Plan, index: Vec3) -> list[Vec3]:
    """The clustered blocks that touch a block, itself among them."""
    return plan.grid.touching(plan.grid.core(index).grow(1).intersect(plan.scope.clustered))


class Inputs:
    """Which files each task reads, and which tasks read a file. Made once, since it visits all blocks of an axis."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._all = {(name, kind): self._neighbours(name, kind, by) for (name, kind), by in _halos(plan).items()}

    def of(self, name: str, index: Vec3) -> dict[str, list[Vec3]]:
        """Blocks whose intermediates a task reads, by kind; none for the passes before tracking and for pyramids."""
        return {kind: near.read(index) for (reader, kind), near in self._all.items() if reader == name}

    def readers(self, kind: str, block: Vec3) -> Iterator[tuple[str, Vec3]]:
        """The tasks that read a block's intermediate, as pass and index."""
        for (name, read), near in self._all.items():
            if read == kind:
                for index in near.readers(block):
                    yield name, index

    def _neighbours(self, name: str, kind: str, by: int) -> Neighbours:
        plan, scope = self.plan, self.plan.scope
        there = {"maps": scope.mapped, "components": scope.clustered}.get(kind, scope.tracked)
        tasks, own = part_of(plan, name)

        def seen(index: Vec3) -> Box:
            part = tasks.core(index).intersect(own)
            decides = deciding_box(part, plan.output.label_factors, plan.shape) if name == "label" else part
            return _where_any(part, decides.grow(by).intersect(there))

        return Neighbours.of(tasks, plan.intermediate_grid(kind), seen)


def _where_any(part: Box, box: Box) -> Box:
    """A box, made empty along the axes on which a task has nothing to do (then there is no such task)."""
    some = [a < b for a, b in zip(part.start, part.stop, strict=True)]
    start, stop = (vec3(n if any_ else 0 for n, any_ in zip(end, some, strict=True)) for end in (box.start, box.stop))
    return Box(start, stop)


def tracked_halo(plan: Plan) -> int:
    """Voxels around a block whose maps ``track`` reads."""
    return max(plan.tracking.reach, plan.looking_halo)


def _halos(plan: Plan) -> dict[tuple[str, str], int]:
    """Voxels by which each pass reads beyond its block, by pass and kind of intermediate (given maps are none)."""
    halos = {
        ("track", "maps"): tracked_halo(plan),
        ("cluster", "sinks"): plan.tracking.reach + 2 * plan.grouping.closing_vox,
        ("label", "offsets"): 0,
        ("label", "components"): plan.tracking.reach,
    }
    if plan.checks_flow:
        halos |= {("check", "maps"): 0, ("check", "offsets"): 0, ("check", "components"): plan.tracking.reach}
    if plan.resamples:
        halos |= {("label", "maps"): 0}
    return {key: by for key, by in halos.items() if plan.predicts or key[1] != "maps"}
