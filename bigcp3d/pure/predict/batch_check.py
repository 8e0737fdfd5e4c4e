"""Choose how many patches go through the network together: several on a GPU, if that changes no bit of the results.

Which patches share a batch, and their places in it, depend on the block. So a batch may hold several only if the
network's answer to a patch depends on neither. Shapes and kernels are fixed
(`bigcp3d.pure.predict.run_network.fix_arithmetic`), so one check before the first patch is enough for a network, a
shape and a device.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.predict.run_network import run_network

BATCH_VOX = 2**22
"""Most voxels of a batch on a GPU."""

MOST = 8
"""Most patches of a batch on a GPU, where a small patch alone waits for its kernels to start. The number is not
measured. The check takes as many runs as a batch has places, so it is not larger."""


def largest_batch(device: str, patch: Vec3) -> int:
    """Patches that may share a batch on a device; one on "cpu", where more gain nothing."""
    return 1 if device == "cpu" else max(1, min(MOST, BATCH_VOX // math.prod(patch)))


def safe_batch(network: nn.Module, patch: Vec3, most: int, channels: int = 1) -> int:
    """``most`` if batches of that size are safe, else 1. Runs ``most + 1`` batches, unless ``most`` is 1."""
    return most if most > 1 and batch_is_safe(network, patch, most, channels) else 1


def batch_is_safe(network: nn.Module, patch: Vec3, batch: int, channels: int = 1) -> bool:
    """Whether a patch gets the same answer, to the bit, at every place in a batch and whatever lies beside it."""
    patches = torch.randn((batch, channels, *patch), generator=torch.Generator().manual_seed(0))
    answers = run_network(network, patches)
    alone = torch.cat([patches[:1], torch.zeros_like(patches[1:])])
    return torch.equal(run_network(network, alone)[0], answers[0]) and all(
        torch.equal(run_network(network, patches.roll(places, 0)), answers.roll(places, 0))
        for places in range(1, batch)
    )
