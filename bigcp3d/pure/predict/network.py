r"""The networks: 3D U-Nets (Cicek et al. 2016) that predict foreground and flow.

`UNet3D` follows the layout of Eschweiler and Stegmaier 2021. With f features::

    image -> stem f -------------------------------------- cat -> 3f -> f, f -> head -> foreground, flow z, y, x
              \ stride 2                                 / transposed, stride 2
              level 2f --------------------------- cat -> 6f -> 2f, 2f
                 \                                /
                 level 4f ---------------- cat -> 12f -> 4f, 4f
                    \                    /
                     level 8f -----------

Convolutions are 3 wide, those with stride 4. Instance norm and LeakyReLU(0.2) follow each; tanh is last. The first
level has no norm, so that faint, bright and empty patches can be told apart. With 16 features and depth 4: 1.98 million
parameters, 164 kFLOP a voxel.

`HalfUNet3D` begins and ends at half the resolution, and so saves most of that work: a strided convolution, a plain
U-Net with max-pooling, a transposed convolution. With 32 features and depth 4: 5.88 million parameters, most of them
where there are few voxels, and 74 kFLOP a voxel. `examples/architectures.py` compares the two.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Architecture = Literal["eschweiler", "half"]
"""`UNet3D` or `HalfUNet3D`."""


def _block(convolution: nn.Module, features: int, norm: bool = True) -> list[nn.Module]:
    """A convolution, its norm and its activation."""
    return [convolution, *([nn.InstanceNorm3d(features)] if norm else []), nn.LeakyReLU(0.2, inplace=True)]


def _widen(inputs: int, middle: int, outputs: int, norm: bool = True) -> nn.Sequential:
    """Two convolutions at one resolution."""
    return nn.Sequential(
        *_block(nn.Conv3d(inputs, middle, 3, padding=1), middle, norm),
        *_block(nn.Conv3d(middle, outputs, 3, padding=1), outputs, norm),
    )


def _down(features: int, norm: bool = True) -> nn.Sequential:
    """Half the resolution."""
    return nn.Sequential(*_block(nn.Conv3d(features, features, 4, stride=2, padding=1), features, norm))


def _up(features: int) -> nn.Sequential:
    """Twice the resolution."""
    spread = nn.ConvTranspose3d(features, features, 3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(*_block(spread, features), *_block(nn.Conv3d(features, features, 1), features))


class UNet3D(nn.Module):
    """A 3D U-Net with four outputs in [-1, 1]; sides of patches are multiples of ``stride``.

    Instance norm uses the patch's mean and spread, so the answer depends weakly on the whole patch. ``features``, an
    even number, is the width at full resolution; multiples of 16 are fast. It doubles ``depth - 1`` times; ``depth`` is
    the number of levels of resolution, at least 2.
    """

    def __init__(self, channels: int = 1, features: int = 16, depth: int = 4) -> None:
        super().__init__()
        widths = [features * 2**level for level in range(depth)]
        self.stride = 2 ** (depth - 1)
        self.stem = _widen(channels, features // 2, features, norm=False)
        self.down = nn.ModuleList(_down(w, norm=w > features) for w in widths[:-1])
        self.levels = nn.ModuleList(_widen(w, w, 2 * w) for w in widths[:-1])
        self.up = nn.ModuleList(_up(w) for w in reversed(widths[1:]))
        self.merge = nn.ModuleList(_widen(3 * w, w, w) for w in reversed(widths[:-1]))
        self.head = nn.Sequential(*_widen(features, features, features), nn.Conv3d(features, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Foreground and flow: (n, channels, z, y, x) to (n, 4, z, y, x); sides are multiples of ``stride``."""
        x = self.stem(x)
        skips = []
        for down, level in zip(self.down, self.levels, strict=True):
            skips.append(x)
            x = level(down(x))
        for up, merge in zip(self.up, self.merge, strict=True):
            x = up(x)
            x = torch.cat([x, skips.pop()], dim=1)
            x = merge(x)
        return torch.tanh(self.head(x))


def _pair(inputs: int, outputs: int, norm: bool) -> nn.Sequential:
    """Two convolutions at one resolution; the norm has a scale and an offset."""
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        layers.append(nn.Conv3d(width, outputs, 3, padding=1))
        layers += [nn.InstanceNorm3d(outputs, affine=True)] if norm else []
        layers.append(nn.LeakyReLU(0.1, inplace=True))
    return nn.Sequential(*layers)


class Up(nn.Sequential):
    """Two convolutions of a pair of levels: the coarse one at twice its resolution, and the fine one."""

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:  # type: ignore[override]
        """(n, a, z, y, x) and (n, b, 2z, 2y, 2x) to (n, b, 2z, 2y, 2x)."""
        doubled = functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        x = torch.cat([doubled, fine], dim=1)
        for layer in self:
            x = layer(x)
        return x


class HalfUNet3D(nn.Module):
    """A 3D U-Net at half the image's resolution, otherwise like `UNet3D`.

    ``features`` is the width at half the resolution; multiples of 8 are fast. It doubles ``depth - 1`` times; ``depth``
    is the number of levels, of half the resolution and coarser, at least 2.
    """

    def __init__(self, channels: int = 1, features: int = 32, depth: int = 4) -> None:
        super().__init__()
        widths = [features * 2**level for level in range(depth)]
        self.stride = 2**depth
        self.stem = nn.Sequential(nn.Conv3d(channels, features, 4, stride=2, padding=1), nn.LeakyReLU(0.1))
        self.down = nn.ModuleList(
            _pair(a, b, norm=b > features) for a, b in zip([features, *widths], widths, strict=False)
        )
        pairs = zip(widths[:0:-1], widths[-2::-1], strict=True)
        self.up = nn.ModuleList(Up(*_pair(a + b, b, norm=True)) for a, b in pairs)
        self.head = nn.ConvTranspose3d(features, 4, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Foreground and flow: (n, channels, z, y, x) to (n, 4, z, y, x); sides are multiples of ``stride``."""
        if any(side % self.stride for side in x.shape[2:]):
            raise RuntimeError(f"sides {tuple(x.shape[2:])} are no multiples of {self.stride}")
        skips: list[Tensor] = []
        x = self.stem(x)
        for level, down in enumerate(self.down):
            x = down(functional.max_pool3d(x, 2) if level else x)
            skips.append(x)
        x = skips.pop()
        for up in self.up:
            x = up(x, skips.pop())
        return torch.tanh(self.head(x))


def make_network(architecture: str, channels: int, features: int, depth: int) -> nn.Module:
    """A network of an `Architecture`, with random weights."""
    return {"eschweiler": UNet3D, "half": HalfUNet3D}[architecture](channels, features, depth)
