"""Closing in rows longer than a word of 64 voxels, against scikit-image on a volume padded with zeros."""

from __future__ import annotations

import numpy as np
import pytest

from bigcp3d.pure.boxes import Box
from bigcp3d.pure.group.closing import close_sinks
from tests.pure.group.test_cluster import closed_by_skimage, sparse, voxels_of

WORD = 64


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_rows_that_cross_two_word_borders_are_closed_as_by_scikit_image(radius: int) -> None:
    """Words begin ``2 * radius`` before the core. Voxels are closed on both sides of each border between words."""
    mask = sparse((9, 9, 150), radius, 0.15)
    truth = closed_by_skimage(mask, radius)
    for border in (WORD - 2 * radius, 2 * WORD - 2 * radius):
        added = (truth & ~mask)[..., border - 1 : border + 1]
        assert added.any(axis=(0, 1)).all(), "the premise"
    assert np.array_equal(close_sinks(voxels_of(mask), Box.of_shape((9, 9, 150)), radius), truth)


@pytest.mark.parametrize("wide", [63, 64, 65, 127, 128, 129])
def test_what_is_read_may_end_anywhere_in_a_word(wide: int) -> None:
    """``wide`` is the width of the core and what is read beside it: the last word is short, full, or has one voxel."""
    radius = 2
    shape = (7, 7, wide - 4 * radius)
    mask = sparse(shape, wide, 0.15)
    closed = close_sinks(voxels_of(mask), Box.of_shape(shape), radius)
    assert np.array_equal(closed, closed_by_skimage(mask, radius))


def test_sinks_at_the_end_of_what_is_read_stay_in_their_row() -> None:
    core = Box((0, 0, 0), (5, 5, 57))
    sinks = np.argwhere(np.ones((5, 5, 65))).astype(np.int32) - np.array([0, 0, 4], np.int32)
    assert close_sinks(sinks[sinks[:, 2] > 57], core, 2).sum() == 0
    assert close_sinks(sinks, core, 2).all()  # control


@pytest.mark.parametrize("first", [0, 1, 60, 63, 64, 65, 127])
def test_a_wide_core_anywhere_in_the_volume_is_closed_as_the_whole(first: int) -> None:
    radius, shape = 2, (7, 7, 330)
    mask = sparse(shape, first, 0.15)
    core = Box((1, 2, first), (6, 6, first + 150))
    truth = closed_by_skimage(mask, radius)[core.slices()]
    assert np.array_equal(close_sinks(voxels_of(mask), core, radius), truth)
