"""A model family of your own, which finds bright round cells by their smoothed brightness: ``--model bright:DIAMETER``.

There is nothing to train. A Gaussian smooths each patch. Bright voxels are foreground, and the slope of the brightness
points to the middle of a cell. A real family reads the weights of a trained network instead; its three functions have
the same names.

To install it, put this file into a package of yours with these lines in its pyproject.toml, and `pip install` that::

    [project.entry-points."bigcp3d.models"]
    bright = "custom_model"

Then: bigcp3d segment IMAGE.zarr --model bright:8     (cells of about 8 voxels)
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

from bigcp3d.edge.models.model_card import ModelCard, PatchMemory
from bigcp3d.errors import ModelError

if TYPE_CHECKING:  # torch takes seconds to import, and `bigcp3d models bright:8` does not need it
    from torch import nn


def find_file(name: str) -> Path:
    """The file that decides what the network answers: this one, since there are no weights."""
    if not name.isdecimal() or not 4 <= int(name) <= 60:
        raise ModelError(f"bright:{name}: {name!r} is no diameter; give 4 to 60 voxels, as in bright:8")
    return Path(__file__)


def read_card(name: str) -> ModelCard:
    """What the network expects and needs."""
    find_file(name)
    diameter = int(name)
    return ModelCard(
        name=f"bright:{name}",
        representation="heat",
        scale_vox=1.0,
        diameter_vox=diameter,
        architecture="bright",
        channels=1,
        patch=(128, 128, 128),
        margin=diameter // 2,
        low_percentile=1.0,
        high_percentile=99.0,
        clip=(0.0, 1.0),
        precision="float32",
        memory=PatchMemory(fixed=2**26, per_voxel=64),
        training="none; the kernels are a Gaussian and its slopes",
        date="2026-11-28",
        bigcp3d_version=importlib.metadata.version("bigcp3d"),
        command="none",
    )


def read_network(name: str, device: str) -> nn.Module:
    """The network, in eval mode and without gradients."""
    import torch
    from torch import nn

    find_file(name)
    sigma = int(name) / 5
    side = torch.arange(-round(3 * sigma), round(3 * sigma) + 1.0)
    gauss = torch.exp(-((side / sigma) ** 2) / 2)
    gauss /= gauss.sum()
    slope = side / sigma**2 * gauss

    class BrightSpots(nn.Module):
        """Foreground 0..1, then the direction (z, y, x) in which it gets brighter."""

        def __init__(self) -> None:
            super().__init__()
            along = [[slope if axis == wanted else gauss for axis in range(3)] for wanted in (None, 0, 1, 2)]
            kernels = torch.stack([z[:, None, None] * y[:, None] * x for z, y, x in along])
            self.kernels = nn.Parameter(kernels[:, None])

        def forward(self, patches):
            smooth = nn.functional.conv3d(patches, self.kernels, padding="same")
            foreground = torch.sigmoid(20 * (smooth[:, :1] - 0.35))
            flow = smooth[:, 1:]
            return torch.cat([foreground, flow / flow.norm(dim=1, keepdim=True).clamp(min=1e-6)], dim=1)

    return BrightSpots().to(device).eval().requires_grad_(False)
