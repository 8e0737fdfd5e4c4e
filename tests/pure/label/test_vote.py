"""Labels of an image that is coarser than the working grid: the majority of the voxels that lie in a voxel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigcp3d.pure.boxes import BlockGrid, Box
from bigcp3d.pure.grid import spread_labels, working_box, working_shape
from bigcp3d.pure.label.vote import vote_labels
from bigcp3d.pure.label.voting_box import votes, voting_box


def vote_whole(labels, shape, factors):
    """All labels of an image of ``shape``."""
    return vote_labels(labels, Box.of_shape(labels.shape), Box.of_shape(shape), factors, labels.shape)


def naive(labels, shape, factors):
    """The rule, voxel by voxel, from positions."""
    out = np.zeros(shape, labels.dtype)
    for at in np.ndindex(shape):
        inside, near = [], []
        for i, f, size in zip(at, factors, labels.shape, strict=True):
            near.append(min(int((i + 0.5) / f), size - 1))
            centres = (np.arange(size) + 0.5) * f
            held = np.flatnonzero((centres >= i - 1e-9) & (centres < i + 1 - 1e-9)) if f < 1 else []
            inside.append(sorted({*map(int, held), near[-1]}))
        window = labels[np.ix_(*inside)].ravel()
        nearest = labels[tuple(near)]
        filled = np.count_nonzero(window)
        if 2 * filled > window.size or (2 * filled == window.size and nearest):
            ids, counts = np.unique(window[window > 0], return_counts=True)
            tied = ids[counts == counts.max()]
            out[at] = nearest if nearest in tied else tied[0]
    return out


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*(st.integers(1, 6) for _ in range(3))),
    st.tuples(*(st.sampled_from([0.25, 1 / 3, 0.4, 0.5, 0.77, 1.0, 1.5]) for _ in range(3))),
    st.tuples(*(st.integers(1, 4) for _ in range(3))),
    st.integers(0, 2**32 - 1),
)
def test_votes_follow_the_rule_and_no_block(shape, factors, block, seed):
    working = working_shape(shape, factors)
    labels = np.random.default_rng(seed).integers(0, 4, working).astype(np.uint32)
    whole = vote_whole(labels, shape, factors)
    assert np.array_equal(whole, naive(labels, shape, factors))
    for index in (grid := BlockGrid(shape, block)):
        box = grid.core(index)
        region = voting_box(box, factors, working)
        assert region.clip(working) == region
        part = vote_labels(labels[region.slices()].copy(), region, box, factors, working)
        assert np.array_equal(part, whole[box.slices()])


@pytest.mark.parametrize("factors", [(0.5, 1.0, 1.0), (2.0, 0.99, 1.0), (1.0, 3.0, 0.25)])
def test_one_axis_with_a_factor_below_one_is_enough_for_a_vote(factors):
    assert votes(factors)
    assert not votes(tuple(max(1 - 1e-9, f) for f in factors))  # a rounded 1 is 1


def test_what_votes_on_nothing_is_nothing():
    box = voting_box(Box((3, 0, 8), (9, 5, 4)), (0.5, 1.0, 0.5), (20, 20, 20))
    assert (box.start, box.stop) == ((6, 0, 0), (18, 5, 0))


def test_where_no_axis_is_finer_the_nearest_voxel_decides():
    shape, factors = (7, 9, 8), (1.0, 2.5, 1.5)
    working = working_shape(shape, factors)
    labels = np.random.default_rng(0).integers(0, 9, working).astype(np.uint32)
    box = Box.of_shape(shape)
    assert not votes(factors)
    assert voting_box(box, factors, working) == working_box(box, factors, working)
    region = working_box(box, factors, working)
    nearest = spread_labels(labels[region.slices()], region, box, factors, working)
    assert np.array_equal(vote_labels(labels[region.slices()].copy(), region, box, factors, working), nearest)


@pytest.mark.parametrize("f", [0.25, 0.5])
def test_a_ball_stays_where_it_is_which_the_nearest_voxel_would_move(f):
    size = round(24 / f)
    at = (np.indices((size,) * 3) + 0.5) * f - 12  # in image voxels
    ball = ((at**2).sum(axis=0) < 64).astype(np.uint64)
    factors = (f, f, f)
    image = Box.of_shape((24, 24, 24))
    region = working_box(image, factors, ball.shape)
    moved = spread_labels(ball[region.slices()], region, image, factors, ball.shape)
    voted = vote_whole(ball, image.shape, factors)
    centres = [np.argwhere(labels).mean(axis=0) + 0.5 - 12 for labels in (voted, moved)]
    assert np.abs(centres[1]).max() > 0.1, "the control"
    assert np.abs(centres[0]).max() < 0.4 * np.abs(centres[1]).max()
    assert np.count_nonzero(voted) == pytest.approx(4 / 3 * np.pi * 8**3, rel=0.02)
