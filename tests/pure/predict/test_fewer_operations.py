"""The network with fewer operations against the plain one, and its weights against what they stand for."""

from copy import deepcopy

import pytest
import torch
from torch.nn import functional

from bigcp3d.pure.predict.fewer_operations import doubling_weight, need_fewer_operations
from bigcp3d.pure.predict.network import HalfUNet3D, UNet3D
from bigcp3d.pure.predict.run_network import run_network, to_precision


def make(kind=HalfUNet3D, *settings):
    torch.manual_seed(0)
    return kind(*settings or (1, 8, 3)).eval().requires_grad_(False)


def patch_of(channels=1):
    return torch.randn(1, channels, 16, 24, 32, generator=torch.Generator().manual_seed(1))


def test_one_transposed_convolution_does_copying_and_convolution():
    weight, coarse = (torch.randn(shape, dtype=torch.float64) for shape in ((3, 5, 3, 3, 3), (1, 5, 2, 3, 4)))
    copied = functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
    both = functional.conv3d(copied, weight, padding=1)
    one = functional.conv_transpose3d(coarse, doubling_weight(weight), stride=2, padding=1)
    assert torch.allclose(one, both, atol=1e-12)
    mirrored = functional.conv_transpose3d(coarse, doubling_weight(weight.flip(2)), stride=2, padding=1)
    assert not torch.allclose(mirrored, both, atol=1e-3), "the control"


@pytest.mark.parametrize("settings", [(1, 8, 3), (2, 4, 2)])
def test_its_answers_are_those_of_the_plain_network_but_for_rounding(settings):
    plain = make(HalfUNet3D, *settings)
    fewer = to_precision(deepcopy(plain), "float32")
    patch = patch_of(settings[0])
    answer = run_network(fewer, patch)
    assert torch.allclose(answer, run_network(plain, patch), atol=1e-4)
    assert torch.equal(answer, run_network(fewer, patch))
    fewer.up[0].bias.data += 1
    fewer.up[0].weight.data *= 2
    assert not torch.allclose(run_network(fewer, patch), answer, atol=1e-4), "the control"


def test_only_float32_and_only_the_half_network_change():
    names = {
        precision: set(dict(to_precision(make(), precision).named_modules())) for precision in ("bfloat16", "float32")
    }
    assert names["bfloat16"] == set(dict(make().named_modules())) != names["float32"]
    other, before = make(UNet3D), make(UNet3D)
    need_fewer_operations(other)
    assert str(other) == str(before)


def test_without_onednn_the_network_stays_plain(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert str(to_precision(make(), "float32")) == str(make())
