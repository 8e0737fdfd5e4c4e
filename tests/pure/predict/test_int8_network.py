"""The network in whole numbers against the plain one, and its convolutions against sums of whole numbers."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch.nn import functional

from bigcp3d import InputError
from bigcp3d.edge.models.model_families import load_network
from bigcp3d.pure.predict import int8_network
from bigcp3d.pure.predict.int8_network import Int8HalfUNet3D, Rounded, Voxels
from bigcp3d.pure.predict.network import HalfUNet3D, UNet3D
from bigcp3d.pure.predict.run_network import run_network, to_precision

RANDOM = np.random.default_rng(0)


def make(*settings):
    torch.manual_seed(0)
    return HalfUNet3D(*settings or (1, 8, 3)).eval().requires_grad_(False)


def patch_of(channels=1, number=1):
    return torch.randn(number, channels, 16, 24, 32, generator=torch.Generator().manual_seed(1))


def voxels_of(values):
    return Voxels(values, float(values.min()), float(values.max()), float((values**2).mean()))


@pytest.mark.parametrize("settings", [(1, 8, 3), (2, 4, 2)])
def test_its_answers_are_those_of_the_plain_network_but_for_rounding(settings):
    plain = make(*settings)
    whole = to_precision(deepcopy(plain), "int8")
    patch = patch_of(settings[0])
    answer = run_network(whole, patch)
    assert answer.dtype == torch.float32
    difference = (answer - run_network(plain, patch)).abs()
    assert 0 < difference.mean() < 0.01
    mirrored = run_network(whole, patch.flip(2)).flip(2)
    assert (answer - mirrored).abs().mean() > 0.01, "the control"


def test_answers_of_a_shipped_model_differ_little_in_cells_and_in_nearly_empty_patches():
    network, _ = load_network("nuclei")
    whole = to_precision(deepcopy(network), "int8")
    patch = torch.zeros(1, 1, 48, 48, 48)
    patch[..., 10:22, 10:22, 10:22] = 1.0
    patch += 0.02 * torch.randn(patch.shape, generator=torch.Generator().manual_seed(0))
    answer, plain = run_network(whole, patch), run_network(network, patch)
    cell = plain[:, 0] > 0.5
    assert 500 < cell.sum() < 5000
    assert (answer - plain)[:, 1:].abs().mean(1)[cell].mean() < 0.01
    assert (answer - plain)[:, 0].abs().mean() < 0.002


def test_an_answer_depends_on_its_patch_alone():
    whole = to_precision(make(), "int8")
    patches = patch_of(number=3) * torch.tensor([1.0, 100.0, 0.0]).view(-1, 1, 1, 1, 1)
    together = run_network(whole, patches)
    for number in range(3):
        assert torch.equal(together[number], run_network(whole, patches[number : number + 1])[0])


def test_threads_that_share_a_network_give_the_same_answers():
    whole, patches = to_precision(make(), "int8"), list(patch_of(number=6).split(1))
    alone = [run_network(whole, patch) for patch in patches]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(lambda patch: run_network(whole, patch), patches * 3))
    assert all(torch.equal(a, b) for a, b in zip(alone * 3, together, strict=True))


def test_sides_that_do_not_fit_are_refused():
    with pytest.raises(RuntimeError, match=r"sides \(12, 16, 16\) are no multiples of 8"):
        to_precision(make(), "int8")(torch.zeros(1, 1, 12, 16, 16))


def test_two_bytes_hold_what_one_loses():
    values = np.abs(RANDOM.normal(size=(14, 15, 16, 8))).astype(np.float32)
    tame = int8_network._round(voxels_of(values))
    assert tame.rest is None
    values[0, 0, 0, 0] = 300.0
    wide = int8_network._round(voxels_of(values))
    assert wide.rest is not None
    first = wide.scale * (wide.first.astype(np.float64) - int8_network.ZERO)
    both = first + wide.scale / 255 * (wide.rest.astype(np.float64) - int8_network.MIDDLE)
    assert np.abs(first - values).max() > 0.3
    assert np.abs(both - values).max() < 1.01 * wide.scale / 255 / 2 + 1e-4


@pytest.mark.parametrize("low", [-1.0, 0.0])
def test_the_largest_and_the_least_value_fit_into_bytes(low):
    values = np.linspace(low, 5.0, 4 * 4 * 4 * 8, dtype=np.float32).reshape(4, 4, 4, 8)
    rounded = int8_network._round(voxels_of(values))
    back = rounded.scale * (rounded.first.astype(np.float64) - int8_network.ZERO)
    assert np.abs(back - values).max() <= 0.501 * rounded.scale


SUMS = """
import numpy as np, torch
from bigcp3d.pure.predict import int8_network as network
bright = np.full((6, 6, 6, 64), 255, np.uint8)
convolution = network._Convolution(torch.ones(8, 64, 3, 3, 3), torch.zeros(8))
print(float(convolution(network.Rounded(1.0, bright, None))[3, 3, 3, 0]))
"""


@pytest.mark.parametrize("instructions", ["AVX2", "DEFAULT"])
def test_the_largest_sums_overflow_on_no_processor(instructions):
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": instructions}
    ran = subprocess.run([sys.executable, "-c", SUMS], check=True, capture_output=True, text=True, env=environment)
    assert float(ran.stdout) == pytest.approx((255 - int8_network.ZERO) * 27 * 64, rel=1e-5)


def test_a_convolution_sums_bytes_times_whole_weights():
    weight = torch.from_numpy(RANDOM.integers(-63, 64, (8, 16, 3, 3, 3)).astype(np.float32))
    weight[:, 0, 0, 0, 0] = 63
    first = RANDOM.integers(0, 256, (5, 6, 7, 16)).astype(np.uint8)
    found = int8_network._Convolution(weight, torch.arange(8.0))(Rounded(1.0, first, None))
    image = torch.from_numpy(first.astype(np.float64) - int8_network.ZERO).permute(3, 0, 1, 2)[None]
    expected = functional.conv3d(image, weight.double(), torch.arange(8.0).double(), padding=1)[0].permute(1, 2, 3, 0)
    assert np.array_equal(found, expected.numpy())


def test_other_networks_are_refused():
    with pytest.raises(InputError, match="architecture half"):
        to_precision(UNet3D(1, 8, 3), "int8")


def test_other_convolutions_of_another_torch_are_noticed(monkeypatch):
    convolve = torch.ops.onednn.qconv3d_pointwise
    monkeypatch.setattr(
        torch.ops.onednn, "qconv3d_pointwise", lambda x, scale, zero, *more: convolve(x, 2.0, zero, *more)
    )
    with pytest.raises(InputError, match="sums are wrong"):
        int8_network.check_int8()


def test_where_torch_has_no_such_convolutions_the_message_says_so(monkeypatch):
    def missing(*_):
        raise NotImplementedError("no kernel")

    monkeypatch.setattr(torch.ops.onednn, "qconv_prepack", missing)
    with pytest.raises(InputError, match=r"cannot compute in int8 .* give --precision float32"):
        Int8HalfUNet3D(make())
