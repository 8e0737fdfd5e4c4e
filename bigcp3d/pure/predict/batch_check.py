"""How many patches go through the network together: one, or as many as fill a GPU if that changes no bit.

Which patches share a batch, and where each lies in it, depends on the block. So a batch may hold several only if the
answer to a patch depends on neither. Shapes and kernels are fixed (`bigcp3d.pure.predict.run_network.fix_arithmetic`),
so this is a property of the network, the shape and the device, which is looked at before the first patch is predicted:
kernels that split their sums by place would show in some of millions of values.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.predict.run_network import run_network

BATCH_VOX = 2**22
MOST = 8
"""Voxels and patches of a batch on a GPU, at most: a small patch alone would wait for its kernels to be started. Not
measured; more are not tried, since to look at a batch takes as many runs as it has places."""


def largest_batch(device: str, patch: Vec3) -> int:
    """Patches that may go through the network together on a kind of device; on "cpu" one, as more gain nothing."""
    return 1 if device == "cpu" else max(1, min(MOST, BATCH_VOX // math.prod(patch)))


def safe_batch(network: nn.Module, patch: Vec3, most: int, channels: int = 1) -> int:
    """``most``, if a patch's answer does not depend on its place among so many; else 1.

    Notes
    -----
    Runs ``most + 1`` batches through the network, unless ``most`` is 1.
    """
    return most if most > 1 and batch_is_safe(network, patch, most, channels) else 1


def batch_is_safe(network: nn.Module, patch: Vec3, batch: int, channels: int = 1) -> bool:
    """Whether an answer is the same to the bit at every place of a batch, and whatever lies beside it."""
    patches = torch.randn((batch, channels, *patch), generator=torch.Generator().manual_seed(0))
    answers = run_network(network, patches)
    alone = torch.cat([patches[:1], torch.zeros_like(patches[1:])])
    return torch.equal(run_network(network, alone)[0], answers[0]) and all(
        torch.equal(run_network(network, patches.roll(places, 0)), answers.roll(places, 0))
        for places in range(1, batch)
    )
