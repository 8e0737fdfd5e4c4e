"""Tracking on a device of torch: millions of walkers take each step together, as tensors of integers.

What a walk is, and what its end depends on, stands in `bigcp3d.pure.track.tracking`; here is only how a GPU computes
it. Invariant: equal to `bigcp3d.pure.track.tracking.track` element by element, on every device, since all is integers.

Positions are counted as in `bigcp3d.pure.track.tracking_numba`: in 1/127 voxel, relative to the start, plus `BIAS`. The
three flows of a voxel are the bytes of one 32-bit word, so that a step fetches one number a walker. Word 0 is no voxel:
its flow is 0, and a walker that leaves its ball stays there. After each pause, walkers that rest or have left are
written and dropped, so that later steps cost as much as there are walkers left.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.track.tracking import check_reach
from bigcp3d.pure.track.tracking_numba import BIAS, FAR, MIDDLE, MULTIPLY, PAUSE, SHIFT, STILL, UNASSIGNED, UNIT

WALKERS = 2**20
"""Walkers that are moved together: enough to fill a GPU, few enough to bound its memory."""


class Walkers(NamedTuple):
    """Some walkers that still walk; the last axis of every tensor is the walker's."""

    home: Tensor
    """int64 (n,): voxel of the core in which it began."""
    base: Tensor
    """int64 (n,): word of the voxel that it numbers (0, 0, 0)."""
    at: Tensor
    """int64 (n,): word of its nearest voxel; 0 outside its ball."""
    position: Tensor
    """int32 (3, n)."""
    low: Tensor
    """int32 (3, n): lowest position in the volume."""
    high: Tensor
    """int32 (3, n): highest position in the volume."""

    def keep(self, which: Tensor) -> Walkers:
        """Those of a mask."""
        return Walkers(*(values[..., which] for values in self))


def track_on_device(
    maps: NDArray[np.int8],
    region: Box,
    core: Box,
    shape: Vec3,
    *,
    foreground: int,
    steps: int,
    reach: int,
    device: str | torch.device,
    chunk: int = WALKERS,
) -> NDArray[np.int8]:
    """Walk every foreground voxel of ``core`` to its end point, on a device of torch.

    Parameters
    ----------
    maps, region, core, shape, foreground, steps, reach
        As for `bigcp3d.pure.track.tracking.track`.
    device : str or torch.device
        Where the walk is computed.
    chunk : int
        Walkers that are moved together; does not change the result.

    Returns
    -------
    offsets : ndarray of int8, shape (3, z, y, x)
        Those of `bigcp3d.pure.track.tracking.track`.

    Raises
    ------
    ValueError
        As `bigcp3d.pure.track.tracking.track`.

    Notes
    -----
    Exact under blocking; halo ``reach``; deterministic. On the device 6 bytes a voxel of ``region``, 4 a voxel of
    ``core``, 8 a foreground voxel, and about 240 a walker of ``chunk`` (measured; 240 MiB for 2^20); on the host what
    is returned.
    """
    check_reach(region, core, shape, reach)
    words = pack_words(maps, device)
    own = torch.from_numpy(maps[0][core.slices(region.start)]).to(device) >= foreground
    offsets = torch.full((3, core.size), UNASSIGNED, dtype=torch.int8, device=device)
    for home in torch.split(own.flatten().nonzero()[:, 0], chunk):
        _walk(words, _start(home, region, core, shape), region.shape, steps, reach, offsets)
    result: NDArray[np.int8] = offsets.cpu().numpy().reshape(3, *core.shape)
    return result


def pack_words(maps: NDArray[np.int8], device: str | torch.device) -> Tensor:
    """Flow z, y, x of each voxel, -128 counted as -127, as the first bytes of one int32; word 0 is no voxel."""
    voxels = maps[0].size
    flows = torch.zeros((1 + voxels, 4), dtype=torch.int8, device=device)
    for axis in range(3):
        flow = torch.from_numpy(maps[1 + axis]).to(device).flatten()
        flows[1:, axis] = flow.clamp(min=-UNIT)
    return flows.view(torch.int32)[:, 0]


def _start(home: Tensor, region: Box, core: Box, shape: Vec3) -> Walkers:
    """Walkers at rest in the middle of their voxels."""
    _, ny, nx = core.shape
    inside = torch.stack([home // (ny * nx), home // nx % ny, home % nx])
    voxel = inside + _column(core.start, home)
    z, y, x = voxel - _column(region.start, home)
    _, sy, sx = region.shape
    at = 1 + (z * sy + y) * sx + x
    last = _column(shape, home) - 1
    low = (BIAS - UNIT * voxel.clamp(max=FAR)).int()
    high = (BIAS + UNIT * (last - voxel).clamp(max=FAR)).int()
    base = at - MIDDLE * (sy * sx + sx + 1)
    return Walkers(home, base, at, torch.full_like(low, BIAS), low, high)


def _column(corner: Vec3, like: Tensor) -> Tensor:
    """A corner as int64 (3, 1), on the device of ``like``."""
    return torch.tensor(corner, dtype=torch.int64, device=like.device)[:, None]


def _step(words: Tensor, walkers: Walkers, seen: Vec3, reach: int) -> Walkers:
    """One step: add the flow, stay in the volume, find the nearest voxel's word."""
    flow = words[walkers.at].view(torch.int8).view(-1, 4)[:, :3].T
    position = (walkers.position + flow).clamp(walkers.low, walkers.high)
    z, y, x = (position * int(MULTIPLY)) >> int(SHIFT)
    at = walkers.base + (z * seen[1] + y).long() * seen[2] + x
    inside = (position - BIAS).abs().amax(0) <= UNIT * reach + UNIT // 2
    return walkers._replace(position=position, at=at * inside)


def _place(position: Tensor) -> Tensor:
    """Positions in one int64 each, smaller where they come first in raster order."""
    z, y, x = position
    place: Tensor = ((z.long() << 15 | y) << 15) | x
    return place


def _write(home: Tensor, place: Tensor, offsets: Tensor) -> None:
    """Nearest voxel minus start voxel."""
    for axis, up in enumerate((30, 15, 0)):
        offsets[axis, home] = ((place >> up & 0x7FFF) // UNIT - MIDDLE).to(torch.int8)


def _walk(words: Tensor, walkers: Walkers, seen: Vec3, steps: int, reach: int, offsets: Tensor) -> None:
    """Walk some walkers to their ends and write their offsets; ``seen`` is the shape of the box that has words."""
    for taken in range(0, steps, PAUSE):
        if not len(walkers.home):
            return
        begin = walkers.position
        lowest = _place(begin)
        for _ in range(min(PAUSE, steps - taken)):
            walkers = _step(words, walkers, seen, reach)
            lowest = torch.minimum(lowest, _place(walkers.position))
        stays = walkers.at > 0
        moves = (walkers.position - begin).abs().amax(0) > STILL
        if taken + PAUSE <= steps:
            rests = stays & ~moves
            _write(walkers.home[rests], lowest[rests], offsets)
            stays &= moves
        walkers = walkers.keep(stays)
    _write(walkers.home, _place(walkers.position), offsets)
