"""The voxels of some cells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def mask_of(labels: NDArray[np.integer[Any]], ids: Iterable[int]) -> NDArray[np.bool_]:
    """Whether each voxel belongs to one of some cells; bool, in the shape of ``labels``.

    numpy compares a list of Python's integers as float64, which takes large ids for each other. So they get the dtype
    of the labels, which must hold them.
    """
    return np.isin(labels, np.array(list(ids), labels.dtype))
