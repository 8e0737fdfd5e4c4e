"""The voxels of cells with large ids are not those of their neighbours."""

import numpy as np

from bigcp3d.pure.label.mask_of import mask_of


def test_large_ids_are_not_taken_for_each_other():
    labels = np.array([[2**63 + 1, 2**63 + 2], [7, 2**60 + 2]], np.uint64)
    assert mask_of(labels, [1, 2**63 + 1]).tolist() == [[True, False], [False, False]]
    assert mask_of(labels, [2**60 + k for k in range(1, 200, 2)]).sum() == 0
    assert mask_of(labels, iter([7])).tolist() == [[False, False], [True, False]]
