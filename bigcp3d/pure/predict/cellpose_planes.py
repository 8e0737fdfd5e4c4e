"""Apply a 2D network to all planes of a patch, as Cellpose does in 3D, with the input and output of our networks.

The network sees every xy, xz and yz plane of the patch. Each axis lies in the plane of two of the three orientations,
so a voxel gets two flows per axis and three foregrounds, which are averaged::

    xy planes   flow y, x; logit        flow z = mean of xz, yz     flow y = mean of xy, yz     flow x = mean of xy, xz
    xz planes   flow z, x; logit        foreground = sigmoid(mean of the three logits)
    yz planes   flow z, y; logit

Units: Cellpose trains on flows of length 5 and divides by 5 before it moves pixels, so our flows are its flows / 5: one
voxel per step, towards the centre in both. Its own 3D code adds the planes instead of averaging them, so its paths are
twice as fast, and its threshold 0 on the sum of logits is our 0.5 on the foreground.

Invariant: the answer depends on the patch alone. If a network pools over a plane (Cellpose's style vector, a
transformer's attention), it is a plane of the patch. Patches lie on a grid fixed to the volume, so labels are exact.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

FLOW_UNIT = 5.0
"""Length of a flow of one voxel per step in Cellpose's networks."""

PLANES = 4
"""Planes in a batch; fixed, since it may decide how sums inside the network are grouped."""


class PlaneNetwork(nn.Module):
    """A 2D network with Cellpose's outputs, used as a network on patches.

    ``network`` takes float (n, channels, rows, columns). It returns (n, 3, rows, columns), or a tuple that begins with
    it: flow along rows and columns, 5 per voxel and step, and the logit of the foreground. The image's channels come
    first, in their order; the others are zero, as for Cellpose on a grey image. ``side`` is the side of the planes, if
    ``network`` takes one size only; smaller ones are padded with zeros on all sides.
    """

    def __init__(self, network: nn.Module, channels: int, side: int | None = None) -> None:
        super().__init__()
        self.network, self.channels, self.side = network, channels, side

    def forward(self, x: Tensor) -> Tensor:
        """Foreground 0..1 and flow z, y, x in voxels per step: (n, c, z, y, x) to float32 (n, 4, z, y, x)."""
        answer = torch.zeros((len(x), 4, *x.shape[2:]), dtype=torch.float32, device=x.device)
        for volume, sums in zip(x, answer, strict=True):
            self._add_planes(volume, sums)
            torch.sigmoid_(sums[0].div_(3))  # one volume at a time: torch rounds differently on a part of a batch
            sums[1:] /= 2 * FLOW_UNIT
        return answer

    def _add_planes(self, volume: Tensor, sums: Tensor) -> None:
        """Add the logits and flows of all planes of a volume (c, z, y, x) to ``sums``, float32 (4, z, y, x)."""
        for normal in range(3):
            rows, columns = (axis for axis in range(3) if axis != normal)
            planes, by_plane = volume.movedim(1 + normal, 0), sums.movedim(1 + normal, 1)
            for first in range(0, len(planes), PLANES):
                part = slice(first, first + PLANES)
                flow_rows, flow_columns, logit = self._planes(planes[part]).unbind(1)
                by_plane[1 + rows, part] += flow_rows
                by_plane[1 + columns, part] += flow_columns
                by_plane[0, part] += logit

    def _planes(self, planes: Tensor) -> Tensor:
        """The network's answer for planes (n, c, rows, columns), float32 (n, 3, rows, columns)."""
        rows, columns = planes.shape[2:]
        if self.side is None:
            top = left = below = right = 0
        else:
            top, left = (self.side - rows) // 2, (self.side - columns) // 2
            below, right = self.side - rows - top, self.side - columns - left
        seen = functional.pad(planes, (left, right, top, below, 0, self.channels - planes.shape[1]))
        answer = self.network(seen.to(next(self.network.parameters()).dtype))
        answer = answer if isinstance(answer, Tensor) else answer[0]
        return answer[:, :3, top : top + rows, left : left + columns].float()
