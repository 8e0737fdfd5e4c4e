"""A cell of two balls is cut between them, whatever the way: a number of parts, seeds, or labels found in its place."""

import numpy as np
import pytest

from bigcp3d.pure.label.split_cell import deepest_voxel, split_along, split_at_seeds, split_into

SHAPE = (17, 20, 40)
CENTRES = ((8, 9, 11), (8, 10, 26))
RADII = (8, 9)


@pytest.fixture(scope="module")
def balls():
    grid = np.indices(SHAPE)
    one, two = (
        ((grid - np.reshape(c, (3, 1, 1, 1))) ** 2).sum(axis=0) <= r * r for c, r in zip(CENTRES, RADII, strict=True)
    )
    return one, two & ~one


def agreement(parts, balls):
    """Share of the voxels that lie in the part with which their ball shares most."""
    both = balls[0] | balls[1]
    assert np.array_equal(parts > 0, both)
    return max(np.mean((parts == a)[both] == balls[0][both]) for a in (1, 2))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0)])
def test_two_balls_are_cut_between_them(balls, spacing):
    assert agreement(split_into(balls[0] | balls[1], 2, spacing), balls) > 0.97


def test_seeds_keep_their_numbers(balls):
    seeds = np.zeros(SHAPE, np.int32)
    seeds[8, 9, 8], seeds[8, 10, 30] = 2, 1
    parts = split_at_seeds(balls[0] | balls[1], seeds, (1.0, 1.0, 1.0))
    assert agreement(parts, balls) > 0.97
    assert (parts[8, 9, 8], parts[8, 10, 30]) == (2, 1)


def test_a_detached_piece_goes_to_the_nearest_part(balls):
    cell = balls[0] | balls[1]
    cell = np.concatenate([cell, np.zeros((3, *SHAPE[1:]), bool)])
    cell[19, 10, 30] = True
    seeds = np.zeros(cell.shape, np.int32)
    seeds[8, 9, 8], seeds[8, 10, 30] = 1, 2
    assert split_at_seeds(cell, seeds, (1.0, 1.0, 1.0))[19, 10, 30] == 2


def test_small_labels_do_not_count(balls):
    cell, found = balls[0] | balls[1], np.zeros(SHAPE, np.uint32)
    found[balls[0]], found[8, 10, 24:30], found[0, 9, 11] = 7, 9, 12
    assert set(np.unique(split_along(cell, found, (1.0,) * 3))) == {0, 1}
    found[balls[1]] = 9
    assert agreement(split_along(cell, found, (1.0,) * 3), balls) == 1.0
    assert set(np.unique(split_along(cell, np.zeros_like(found), (1.0,) * 3))) == {0, 1}


def test_the_deepest_voxel_is_the_centre(balls):
    assert deepest_voxel(balls[0]) in {CENTRES[0]} | {(8, 9, x) for x in range(9, 13)}
    assert deepest_voxel(np.ones((1, 1, 1), bool)) == (0, 0, 0)


def test_a_cell_of_few_voxels_has_as_many_parts_as_voxels():
    assert sorted(np.unique(split_into(np.ones((1, 1, 3), bool), 5, (1.0,) * 3))) == [1, 2, 3]
