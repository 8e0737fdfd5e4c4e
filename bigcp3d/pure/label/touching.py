"""Whether cells touch each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.label.mask_of import mask_of


def all_touch(labels: NDArray[np.integer[Any]], ids: Sequence[int]) -> bool:
    """Whether some cells hang together, each touching at least one other.

    Parameters
    ----------
    labels : ndarray of integers, shape (z, y, x)
        Labels that hold the whole cells.
    ids : sequence of int
        The cells. A cell may consist of several pieces.

    Returns
    -------
    bool
        Voxels touch if they share a face, an edge or a corner.
    """
    mask = mask_of(labels, ids)
    pieces = cc3d.connected_components(mask, connectivity=26)
    pairs = set(zip(labels[mask].tolist(), pieces[mask].tolist(), strict=True))
    reached, before = {ids[0]}, set[int]()
    while reached != before:
        before, found = reached, {piece for cell, piece in pairs if cell in reached}
        reached = {cell for cell, piece in pairs if piece in found}
    return reached >= set(ids)
