"""Who reads whom, against looking at the box of every task."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bigcp3d.pure.boxes import BlockGrid, vec3
from bigcp3d.pure.grid import working_box, working_shape
from bigcp3d.pure.neighbours import Neighbours

quick = settings(deadline=None, max_examples=40)
shapes = st.tuples(*[st.integers(1, 16)] * 3)
sides = st.tuples(*[st.integers(2, 9)] * 3)
factors = st.tuples(*[st.sampled_from([1.0, 0.31, 0.5, 0.9, 1.2, 1.75, 3.3])] * 3)


def assert_follows_from_boxes(near: Neighbours, tasks: BlockGrid, blocks: BlockGrid, box_of) -> None:
    readers = {block: [] for block in blocks}
    for task in tasks:
        assert near.read(task) == blocks.touching(box_of(task))
        for block in near.read(task):
            readers[block].insert(0, task)
    assert {block: list(near.readers(block)) for block in blocks} == readers


@quick
@given(shapes, sides, sides, st.integers(0, 7))
def test_a_grown_block_meets_blocks_of_another_grid_that_are_thinner_than_the_halo(shape, side, other, halo):
    tasks, blocks = BlockGrid(shape, side), BlockGrid(shape, other)

    def box_of(index):
        return tasks.core(index).grow(halo)

    assert_follows_from_boxes(Neighbours.of(tasks, blocks, box_of), tasks, blocks, box_of)


@quick
@given(shapes, sides, sides, factors, st.integers(0, 4))
def test_blocks_of_the_label_image_read_the_working_grid(image, side, other, scale, halo):
    shape = working_shape(image, scale)
    tasks, blocks = BlockGrid(image, side), BlockGrid(shape, other)

    def box_of(index):
        return working_box(tasks.core(index), scale, shape).grow(halo)

    assert_follows_from_boxes(Neighbours.of(tasks, blocks, box_of), tasks, blocks, box_of)


def test_control_a_halo_of_one_more_voxel_is_seen():
    grid = BlockGrid((8, 8, 8), (4, 4, 4))
    own, more = (Neighbours.of(grid, grid, lambda i, by=by: grid.core(i).grow(by)) for by in (0, 1))
    assert own.read((0, 0, 0)) == [(0, 0, 0)]
    assert more.read((0, 0, 0)) == [vec3(i) for i in grid]
