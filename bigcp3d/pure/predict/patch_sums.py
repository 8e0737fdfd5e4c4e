"""Weighted sums of patches, held in torch where the network computes.

Invariant: sums and maps are the same to the bit on every device. Predictions are rounded half to even in float32 (IEEE)
before they are summed; all that follows is integers. From a GPU only int8 maps, and sums at block borders, are copied
back.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bigcp3d.pure.boxes import Box
from bigcp3d.pure.predict.patches import ONE, SUB, PatchGrid, axis_totals, axis_weights


class PatchSums:
    """Sums of ``box`` in a tensor on ``device``, 16 bytes a voxel; `sums` and `maps` wait for the device."""

    def __init__(self, box: Box, grid: PatchGrid, device: torch.device) -> None:
        self.box, self.grid = box, grid
        self.total = torch.zeros((4, *box.shape), dtype=torch.int32, device=device)
        sides = (axis_weights(side, grid.margin).astype(np.int32) for side in grid.patch)
        self.weights = [torch.from_numpy(side).to(device) for side in sides]

    def add(self, window: Box, prediction: Tensor) -> None:
        """Add a patch's prediction, float32 (4, *window.shape) in [-1, 1]."""
        common = self.box.intersect(window)
        inside = common.slices(window.start)
        part = prediction[(slice(None), *inside)]
        quantised = (part.clamp(-1, 1) * ONE).round().int()
        z, y, x = (weights[side] for weights, side in zip(self.weights, inside, strict=True))
        quantised *= z[:, None, None]
        quantised *= y[:, None]
        quantised *= x
        self.total[(slice(None), *common.slices(self.box.start))] += quantised

    def sums(self, box: Box) -> NDArray[np.int32]:
        """Sums of a box inside, int32 (4, *box.shape); may be a view."""
        return self.total[(slice(None), *box.slices(self.box.start))].cpu().numpy()

    def maps(self, box: Box) -> NDArray[np.int8]:
        """Maps of a box inside, int8 (4, *box.shape), where its sums are complete.

        The same division as in `bigcp3d.pure.predict.patches.finish_merge`, which works without torch.
        """
        grid, total = self.grid, self.total[(slice(None), *box.slices(self.box.start))]
        sides = zip(grid.shape, grid.patch, box.start, box.stop, strict=True)
        weights = [axis_totals(s, p, grid.margin)[a:b] for s, p, a, b in sides]
        plane = torch.from_numpy(weights[1][:, None] * weights[2] * SUB).to(total.device)
        maps = torch.empty(total.shape, dtype=torch.int8, device=total.device)
        for z, weight in enumerate(weights[0].tolist()):
            divisor, value = plane * weight, total[:, z].long()
            maps[:, z] = value.sign() * ((2 * value.abs() + divisor) // (2 * divisor))
        maps[0].clamp_(min=0)
        return maps.cpu().numpy()
