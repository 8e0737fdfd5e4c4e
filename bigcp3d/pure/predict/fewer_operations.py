"""The same network with fewer operations, for float32 on a processor.

On the way up, `HalfUNet3D` doubles a coarse level by copying each voxel to 2 x 2 x 2 voxels, and convolves the result.
Each output voxel then multiplies equal values with several weights. Here such weights are added once, when the network
is loaded. The sums form a transposed convolution of the coarse level itself, which needs 8 products instead of 27::

    weights of a 3 wide convolution              a   b   c
    of copies, two for each coarse voxel      a  a+b b+c  c       a 4 wide transposed convolution, stride 2

The whole network needs 57 instead of 74 kFLOP a voxel, and takes two thirds of the time (`tests/benchmarks`).

Invariant: the answer to a patch always has the same bits, since shapes alone decide what is computed. These bits differ
from those of the plain network, by about 1e-5, so all workers of a run must use the same one
(`bigcp3d.pure.predict.run_network.to_precision`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bigcp3d.pure.predict.network import HalfUNet3D, Up


def need_fewer_operations(network: nn.Module) -> None:
    """Change a float32 `HalfUNet3D` on a processor, in place, for prediction. Other networks stay as they are."""
    with_onednn = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    if not isinstance(network, HalfUNet3D) or not with_onednn:
        return
    network.up = nn.ModuleList(_SplitUp(up) if isinstance(up, Up) else up for up in network.up)
    for name, module in list(network.named_modules()):
        if type(module) is nn.Conv3d:
            parent, _, last = name.rpartition(".")
            setattr(network.get_submodule(parent), last, Convolution(module))


class _SplitUp(nn.Module):
    """`Up`, whose first convolution is split by the level that it sees."""

    def __init__(self, up: Up) -> None:
        super().__init__()
        first, *rest = up
        assert isinstance(first, nn.Conv3d)
        coarse = first.in_channels - first.out_channels
        self.weight = nn.Parameter(doubling_weight(first.weight[:, :coarse]), requires_grad=False)
        self.bias = first.bias
        self.fine = nn.Conv3d(first.out_channels, first.out_channels, 3, padding=1, bias=False)
        self.fine.weight = nn.Parameter(first.weight[:, coarse:].detach().clone(), requires_grad=False)
        self.rest = nn.Sequential(*rest)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        x = functional.conv_transpose3d(coarse, self.weight, self.bias, stride=2, padding=1)
        answer: Tensor = self.rest(x.add_(self.fine(fine)))
        return answer


class Convolution(nn.Module):
    """A convolution that oneDNN computes at any size; for small ones, torch takes a way that is half as fast."""

    def __init__(self, plain: nn.Conv3d) -> None:
        super().__init__()
        self.weight, self.bias, self.stride = plain.weight, plain.bias, plain.stride
        self.padding, self.dilation, self.groups = [*map(int, plain.padding)], plain.dilation, plain.groups

    def forward(self, x: Tensor) -> Tensor:
        """Convolve a patch, or a batch of them."""
        answer: Tensor = torch.mkldnn_convolution(
            x, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
        )
        return answer


def doubling_weight(weight: Tensor) -> Tensor:
    """The weight of a transposed convolution (4 wide, stride 2, padding 1) that does two steps at once.

    These steps are: copying each voxel to 2 x 2 x 2, and a convolution with ``weight`` (b, a, 3, 3, 3), padding 1. The
    result has the shape (a, b, 4, 4, 4).
    """
    for axis in (2, 3, 4):
        none = torch.zeros_like(weight.narrow(axis, 0, 1))
        weight = torch.cat([weight, none], axis) + torch.cat([none, weight], axis)
    return weight.detach().transpose(0, 1).flip(2, 3, 4).contiguous()
