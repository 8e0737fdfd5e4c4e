"""Tracking on a GPU: millions of paths take each step together, as tensors of integers.

`bigcp3d.pure.track.tracking` defines a path and its end; here it is only computed. Invariant: equal to its `track`
element by element, on every device, since all numbers are integers.

Positions are counted as in `bigcp3d.pure.track.tracking_numba`: in 1/127 voxel, relative to the start, plus `BIAS`. The
three flows of a voxel are the bytes of one 32-bit word, so a step reads one number a path. Word 0 is no voxel: its flow
is 0, and a path that goes beyond ``reach`` stays there. After each pause, paths that are done are written and dropped.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.track.tracking import check_reach
from bigcp3d.pure.track.tracking_numba import BIAS, FAR, MIDDLE, MULTIPLY, PAUSE, SHIFT, STILL
from bigcp3d.pure.track.units import UNASSIGNED, UNIT

PATHS = 2**20
"""Paths that move together: enough to fill a GPU, few enough to bound its memory."""


class Paths(NamedTuple):
    """Paths that still move; along the last axis of every tensor."""

    home: Tensor
    """int64 (n,): voxel of the core in which a path began."""
    base: Tensor
    """int64 (n,): word of the voxel that it numbers (0, 0, 0)."""
    at: Tensor
    """int64 (n,): word of its nearest voxel; 0 beyond ``reach``."""
    position: Tensor
    """int32 (3, n)."""
    low: Tensor
    """int32 (3, n): lowest position in the volume."""
    high: Tensor
    """int32 (3, n): highest position in the volume."""

    def keep(self, which: Tensor) -> Paths:
        """The paths of a mask."""
        return Paths(*(values[..., which] for values in self))


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
    chunk: int = PATHS,
) -> NDArray[np.int8]:
    """`bigcp3d.pure.track.tracking.track` on a device of torch: the same arguments, result and errors.

    ``chunk`` paths move together; this does not change the result. Memory on the device: 6 bytes a voxel of ``region``,
    4 a voxel of ``core``, 8 a foreground voxel, and about 240 a path of ``chunk`` (measured; 240 MiB for 2^20); on the
    host only the result.
    """
    check_reach(region, core, shape, reach)
    words = pack_words(maps, device)
    own = torch.from_numpy(maps[0][core.slices(region.start)]).to(device) >= foreground
    offsets = torch.full((3, core.size), UNASSIGNED, dtype=torch.int8, device=device)
    for home in torch.split(own.flatten().nonzero()[:, 0], chunk):
        _follow(words, _start(home, region, core, shape), region.shape, steps, reach, offsets)
    return offsets.cpu().numpy().reshape(3, *core.shape)


def pack_words(maps: NDArray[np.int8], device: str | torch.device) -> Tensor:
    """Flow z, y, x of each voxel, -128 counted as -127, as the first bytes of one int32; word 0 is no voxel."""
    voxels = maps[0].size
    flows = torch.zeros((1 + voxels, 4), dtype=torch.int8, device=device)
    for axis in range(3):
        flow = torch.from_numpy(maps[1 + axis]).to(device).flatten()
        flows[1:, axis] = flow.clamp(min=-UNIT)
    return flows.view(torch.int32)[:, 0]


def _start(home: Tensor, region: Box, core: Box, shape: Vec3) -> Paths:
    """Paths that begin in the middle of their voxels."""
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
    return Paths(home, base, at, torch.full_like(low, BIAS), low, high)


def _column(corner: Vec3, like: Tensor) -> Tensor:
    """A corner as int64 (3, 1), on the device of ``like``."""
    return torch.tensor(corner, dtype=torch.int64, device=like.device)[:, None]


def _step(words: Tensor, paths: Paths, seen: Vec3, reach: int) -> Paths:
    """One step: add the flow, stay in the volume, find the nearest voxel's word."""
    flow = words[paths.at].view(torch.int8).view(-1, 4)[:, :3].T
    position = (paths.position + flow).clamp(paths.low, paths.high)
    z, y, x = (position * int(MULTIPLY)) >> int(SHIFT)
    at = paths.base + (z * seen[1] + y).long() * seen[2] + x
    inside = (position - BIAS).abs().amax(0) <= UNIT * reach + UNIT // 2
    return paths._replace(position=position, at=at * inside)


def _place(position: Tensor) -> Tensor:
    """Positions as one int64 each, ordered as in raster order."""
    z, y, x = position
    place: Tensor = ((z.long() << 15 | y) << 15) | x
    return place


def _write(home: Tensor, place: Tensor, offsets: Tensor) -> None:
    """Nearest voxel minus start voxel."""
    for axis, up in enumerate((30, 15, 0)):
        offsets[axis, home] = ((place >> up & 0x7FFF) // UNIT - MIDDLE).to(torch.int8)


def _follow(words: Tensor, paths: Paths, seen: Vec3, steps: int, reach: int, offsets: Tensor) -> None:
    """Follow paths to their ends and write their offsets; ``seen`` is the shape of the box of ``words``."""
    for taken in range(0, steps, PAUSE):
        if not len(paths.home):
            return
        begin = paths.position
        lowest = _place(begin)
        for _ in range(min(PAUSE, steps - taken)):
            paths = _step(words, paths, seen, reach)
            lowest = torch.minimum(lowest, _place(paths.position))
        stays = paths.at > 0
        moves = (paths.position - begin).abs().amax(0) > STILL
        if taken + PAUSE <= steps:
            rests = stays & ~moves
            _write(paths.home[rests], lowest[rests], offsets)
            stays &= moves
        paths = paths.keep(stays)
    _write(paths.home, _place(paths.position), offsets)
