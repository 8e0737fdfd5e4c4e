"""`HalfUNet3D` with convolutions in whole numbers of 8 bits, for prediction on a processor.

The first and the last layer, norms and activations stay in float32. Nothing is calibrated: the input of each
convolution is rounded by its own largest value in the patch, so an answer depends on the patch alone::

    value  =  scale * (byte - ZERO)              scale: the largest value becomes 255
           +  scale / 255 * (byte - MIDDLE)      what the rounding lost; only for wide inputs

In a patch with little in it, norms make a few spots up to a hundred times as bright as the rest. One byte would lose
the rest, so such an input takes two, and two convolutions.

Weights are rounded once, to 7 bits of each output channel. With 8, processors without VNNI would overflow: they add
pairs of products in 16 bits, and 255 * 63 * 2 is below 2^15.

Invariant: the answer to a patch always has the same bits on one kind of processor. Bytes times bytes are summed
exactly, and all other sums run in the order of the voxels (``compiled``).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bigcp3d.errors import InputError
from bigcp3d.pure.compiled import compiled
from bigcp3d.pure.predict.network import HalfUNet3D

Float32 = NDArray[np.float32]
Bytes = NDArray[np.uint8]

ZERO = 26
"""Byte of the value 0. Activations make negative values ten times as small, so few bytes are left for them."""
MIDDLE = 128
"""Byte of the value 0 in what the rounding lost, which has both signs."""
WIDE = 48.0
"""An input whose largest value is so many times its root mean square takes two bytes."""
LARGEST_WEIGHT = 63
LEAK = 0.1
TINY = 1e-12


class Voxels(NamedTuple):
    """Values of a patch, (z, y, x, c), with what is needed to round them."""

    values: Float32
    low: float
    high: float
    square: float
    """Mean of the squares."""

    @property
    def scale(self) -> float:
        """Of their bytes."""
        return max(self.high / (255 - ZERO), -self.low / ZERO, TINY)

    @property
    def wide(self) -> bool:
        """Whether one byte would lose too much."""
        return max(self.high, -self.low) > WIDE * math.sqrt(self.square)


class Rounded(NamedTuple):
    """An input in bytes, (z, y, x, c); ``rest`` is what they lost, if that is needed."""

    scale: float
    first: Bytes
    rest: Bytes | None


def check_int8() -> None:
    """Raise an `InputError` where torch has no convolutions of bytes, or others."""
    try:
        ones = Rounded(1.0, np.full((1, 1, 1, 4), ZERO + 1, np.uint8), None)
        sums = _Convolution(torch.ones(4, 4, 1, 1, 1), torch.zeros(4))(ones)
        if not np.allclose(sums, 4.0):
            raise RuntimeError("sums are wrong")
    except (AttributeError, NotImplementedError, RuntimeError) as error:
        raise InputError(
            f"this machine cannot compute in int8 with torch {torch.__version__} ({str(error)[:100]}); give "
            "--precision float32, and --overwrite if the run has begun"
        ) from error


class Int8HalfUNet3D(nn.Module):
    """A `HalfUNet3D` for prediction on the processor; it cannot be copied. Its answers are float32.

    Patches hold finite values. `InputError` where torch has no such convolutions.
    """

    def __init__(self, network: HalfUNet3D) -> None:
        super().__init__()
        self.stride, self.stem = network.stride, network.stem.float()
        self.head = network.head.float()
        check_int8()
        self._down = [_layers(layers) for layers in network.down]
        self._up = [_layers(layers) for layers in network.up]

    def forward(self, patches: Tensor) -> Tensor:
        """Foreground and flow: (n, channels, z, y, x) to (n, 4, z, y, x); sides are multiples of ``stride``."""
        if any(side % self.stride for side in patches.shape[2:]):
            raise RuntimeError(f"sides {tuple(patches.shape[2:])} are no multiples of {self.stride}")
        return torch.stack([self._answer(patch) for patch in patches.float()])

    def _answer(self, patch: Tensor) -> Tensor:
        first = self.stem[0](patch[None])
        x, skips = _activate(_channels_last(first)), list[Voxels]()
        for level, layers in enumerate(self._down):
            x = _run(layers, _round(_pool(x) if level else x))
            skips.append(x)
        x = skips.pop()
        for layers in self._up:
            x = _run(layers, _join(x, skips.pop()))
        return torch.tanh(self.head(_image(x.values))[0])


class _Convolution:
    """A convolution with weights of 7 bits, padded by half its width."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        weight = weight.detach().float()
        self._scales = weight.abs().amax((1, 2, 3, 4)).clamp(min=TINY) / LARGEST_WEIGHT
        whole = (weight / self._scales.view(-1, 1, 1, 1, 1)).round().to(torch.int8)
        self._shape = [1] * 3, [weight.shape[-1] // 2] * 3, [1] * 3, 1  # stride, padding, dilation, groups
        self._packed = torch.ops.onednn.qconv_prepack(whole, self._scales, 1.0, ZERO, *self._shape, None)
        self._zeros = torch.zeros(len(weight), dtype=torch.int32)
        self._bias = bias.detach().float()

    def __call__(self, x: Rounded) -> Float32:
        """Values (z, y, x, c)."""
        answer = self._convolve(x.first, x.scale, ZERO, self._bias)
        if x.rest is not None:
            answer += self._convolve(x.rest, x.scale / 255, MIDDLE, torch.zeros_like(self._bias))
        return answer

    def _convolve(self, x: Bytes, scale: float, zero: int, bias: Tensor) -> Float32:
        weights = self._packed, self._scales, self._zeros, bias
        return _channels_last(
            torch.ops.onednn.qconv3d_pointwise(
                _image(x), scale, zero, *weights, *self._shape, 1.0, 0, torch.float32, "none", [], ""
            )
        )


_Layer = tuple[_Convolution, nn.InstanceNorm3d | None]


def _layers(layers: nn.Module) -> list[_Layer]:
    """The convolutions of a level, each with the norm that follows it."""
    found: list[_Layer] = []
    for layer in layers.children():
        if isinstance(layer, nn.Conv3d):
            assert layer.bias is not None
            found.append((_Convolution(layer.weight, layer.bias), None))
        elif isinstance(layer, nn.InstanceNorm3d):
            found[-1] = (found[-1][0], layer)
    return found


def _run(layers: list[_Layer], x: Rounded) -> Voxels:
    """The convolutions of a level, with norms and activations."""
    (first, norm), *others = layers
    values = _activate(first(x), norm)
    for convolution, norm in others:
        values = _activate(convolution(_round(values)), norm)
    return values


def _image(values: NDArray[np.generic]) -> Tensor:
    """(z, y, x, c) to (1, c, z, y, x), without a copy."""
    return torch.from_numpy(values).permute(3, 0, 1, 2)[None]


def _channels_last(x: Tensor) -> Float32:
    """(1, c, z, y, x) to an array (z, y, x, c)."""
    array: Float32 = x[0].permute(1, 2, 3, 0).contiguous().numpy()
    return array


def _activate(values: Float32, norm: nn.InstanceNorm3d | None = None) -> Voxels:
    """Norm and LeakyReLU of the values, in place."""
    flat = values.reshape(-1, values.shape[-1])
    factor, offset = np.ones(flat.shape[1], np.float32), np.zeros(flat.shape[1], np.float32)
    if norm is not None:
        sums, squares = _moments(flat)
        mean = sums / len(flat)
        precise = norm.weight.detach().double().numpy() / np.sqrt(squares / len(flat) - mean * mean + norm.eps)
        factor, offset = (a.astype(np.float32) for a in (precise, norm.bias.detach().double().numpy() - mean * precise))
    low, high, square = _leak(flat, factor, offset, np.float32(LEAK))
    return Voxels(values, float(low), float(high), float(square) / flat.size)


def _pool(x: Voxels) -> Voxels:
    """The largest value of 2 x 2 x 2 voxels; low, high and square stay those of ``x``."""
    return x._replace(values=_channels_last(functional.max_pool3d(_image(x.values), 2)))


def _round(x: Voxels) -> Rounded:
    """The values in bytes."""
    return _in_bytes(x.values, x.scale, two=x.wide)


def _join(coarse: Voxels, fine: Voxels) -> Rounded:
    """The channels of a coarse level, at twice its resolution, and then those of the fine one, with one scale."""
    scale, two = max(coarse.scale, fine.scale), coarse.wide or fine.wide
    low, high = (_in_bytes(x.values, scale, two=two) for x in (coarse, fine))
    rest = None if low.rest is None or high.rest is None else _double_and_join(low.rest, high.rest)
    return Rounded(scale, _double_and_join(low.first, high.first), rest)


def _double_and_join(coarse: Bytes, fine: Bytes) -> Bytes:
    z, y, x, channels = coarse.shape
    joined = np.empty((2 * z, 2 * y, 2 * x, channels + fine.shape[3]), np.uint8)
    joined.reshape(z, 2, y, 2, x, 2, -1)[..., :channels] = coarse[:, None, :, None, :, None]
    joined[..., channels:] = fine
    return joined


def _in_bytes(values: Float32, scale: float, *, two: bool) -> Rounded:
    first = np.empty(values.shape, np.uint8)
    rest = np.empty(values.shape if two else (0,), np.uint8)
    _write_bytes(values.ravel(), np.float32(1 / scale), first.ravel(), rest.ravel())
    return Rounded(scale, first, rest if two else None)


@compiled
def _moments(x):  # type: ignore[no-untyped-def]
    """Sums of the values and of their squares, float64, of each column of x (n, c)."""
    sums, squares = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for i in range(x.shape[0]):
        for k in range(x.shape[1]):
            value = np.float64(x[i, k])
            sums[k] += value
            squares[k] += value * value
    return sums, squares


@compiled
def _leak(x, factor, offset, leak):  # type: ignore[no-untyped-def]
    """Scale the columns of x (n, c), and LeakyReLU, in place: the least and largest value, and the sum of squares."""
    low, high = np.full(x.shape[1], np.inf, np.float32), np.full(x.shape[1], -np.inf, np.float32)
    squares = np.zeros(x.shape[1])
    for i in range(x.shape[0]):
        for k in range(x.shape[1]):
            value = x[i, k] * factor[k] + offset[k]
            value = max(value, value * leak)
            x[i, k] = value
            low[k], high[k] = min(low[k], value), max(high[k], value)
            squares[k] += np.float64(value) * np.float64(value)
    return low.min(), high.max(), squares.sum()


@compiled
def _write_bytes(x, factor, first, rest):  # type: ignore[no-untyped-def]
    """Round the values of x (n,) to ``first``, and 255 times what this lost to ``rest``, unless that is empty."""
    for i in range(x.size):
        value = x[i] * factor
        whole = np.int32(min(max(value + np.float32(ZERO + 0.5), np.float32(0)), np.float32(255)))
        first[i] = np.uint8(whole)
        if rest.size:
            lost = (value - np.float32(whole - ZERO)) * np.float32(255) + np.float32(MIDDLE + 0.5)
            rest[i] = np.uint8(np.int32(min(max(lost, np.float32(0)), np.float32(255))))
