"""The network has the authors' size, and answers in the shape and range that the rest relies on."""

import pytest
import torch

from bigcp3d.pure.network import UNet3D


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_the_default_has_the_authors_1_98_million_parameters():
    assert parameters(UNet3D()) == 1_980_980
    assert parameters(UNet3D(features=8)) < 600_000


@pytest.mark.parametrize(("channels", "features", "depth"), [(1, 4, 2), (3, 6, 3), (2, 2, 4)])
def test_four_outputs_in_minus_one_to_one_at_the_shape_of_the_input(channels, features, depth):
    network = UNet3D(channels, features, depth).eval()
    assert network.stride == 2 ** (depth - 1)
    sides = (2 * network.stride, 3 * network.stride, 4 * network.stride)
    with torch.inference_mode():
        output = network(5 * torch.randn(2, channels, *sides))
    assert output.shape == (2, 4, *sides)
    assert 0 < output.abs().max() <= 1


def test_other_sides_fail_and_do_not_answer_wrongly():
    with pytest.raises(RuntimeError):
        UNet3D(1, 4, 3)(torch.zeros(1, 1, 10, 16, 16))


def test_faint_and_bright_patches_differ_since_the_stem_has_no_norm():
    torch.manual_seed(0)
    network, patch = UNet3D(1, 4, 2).eval(), torch.randn(1, 1, 8, 16, 16)
    with torch.inference_mode():
        assert not torch.allclose(network(patch), network(patch + 3), atol=1e-3)


def test_one_answer_per_seed():
    outputs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        outputs.append(UNet3D(1, 4, 2).eval()(torch.ones(1, 1, 8, 8, 8).cumsum(2)))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
