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


@pytest.mark.parametrize("first", [0, 1, 60, 63, 64, 65, 127])
def test_a_wide_core_anywhere_in_the_volume_is_closed_as_the_whole(first: int) -> None:
    radius, shape = 2, (7, 7, 330)
    mask = sparse(shape, first, 0.15)
    core = Box((1, 2, first), (6, 6, first + 150))
    truth = closed_by_skimage(mask, radius)[core.slices()]
    assert np.array_equal(close_sinks(voxels_of(mask), core, radius), truth)
