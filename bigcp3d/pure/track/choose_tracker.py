"""Which function tracks voxels on a device: numba on the processor, torch on a GPU; both give the same offsets."""

from __future__ import annotations

from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.track.tracking import track


class Tracker(Protocol):
    """A function with the arguments and the result of `bigcp3d.pure.track.tracking.track`."""

    def __call__(
        self, maps: NDArray[np.int8], region: Box, core: Box, shape: Vec3, *, foreground: int, steps: int, reach: int
    ) -> NDArray[np.int8]:
        """Follow the flow from every foreground voxel of ``core`` to its end point."""


def choose_tracker(device: str) -> Tracker:
    """`track` for "cpu", else its equal on that device of torch."""
    if device == "cpu":
        return track
    from bigcp3d.pure.track.tracking_torch import track_on_device  # importing torch takes seconds

    return partial(track_on_device, device=device)
