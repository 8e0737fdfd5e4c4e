"""Cells touch if they share a face, an edge or a corner."""

import numpy as np
import pytest

from bigcp3d.pure.label.touching import all_touch


@pytest.mark.parametrize(
    ("ids", "touch"),
    [
        ((1, 2), True),  # a corner
        ((2, 3), True),  # a face
        ((1, 3), False),
        ((1, 3, 2), True),  # by way of 2
        ((1, 2, 4), False),
        ((5, 1), True),  # one of its two pieces
    ],
)
def test_cells_hang_together_or_do_not(ids, touch):
    labels = np.zeros((3, 4, 12), np.uint32)
    labels[0, 0, 0:2] = 1
    labels[1, 1, 2:4] = 2
    labels[1, 1, 4:6] = 3
    labels[1, 3, 9:11] = 4
    labels[0, 1, 0], labels[2, 3, 11] = 5, 5
    assert all_touch(labels, ids) is touch
