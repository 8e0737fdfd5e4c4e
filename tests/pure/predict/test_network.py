"""The network has the authors' size, and answers in the shape and range that the rest relies on."""

import pytest
import torch

from bigcp3d.pure.predict.network import HalfUNet3D, UNet3D, make_network

BOTH = pytest.mark.parametrize("kind", [UNet3D, HalfUNet3D])


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_the_default_has_the_authors_1_98_million_parameters():
    assert parameters(UNet3D()) == 1_980_980
    assert parameters(UNet3D(features=8)) < 600_000


def test_the_fast_one_has_fewer_and_is_made_by_name():
    assert parameters(HalfUNet3D()) == 5_875_748
    assert isinstance(make_network("half", 1, 8, 2), HalfUNet3D)
    assert isinstance(make_network("eschweiler", 1, 8, 2), UNet3D)


@BOTH
@pytest.mark.parametrize(("channels", "features", "depth"), [(1, 4, 2), (3, 6, 3), (2, 2, 4)])
def test_four_outputs_in_minus_one_to_one_at_the_shape_of_the_input(kind, channels, features, depth):
    network = kind(channels, features, depth).eval()
    assert network.stride == 2 ** (depth - (kind is UNet3D))
    sides = (2 * network.stride, 3 * network.stride, 4 * network.stride)
    with torch.inference_mode():
        output = network(5 * torch.randn(2, channels, *sides))
    assert output.shape == (2, 4, *sides)
    assert 0 < output.abs().max() <= 1


@BOTH
@pytest.mark.parametrize("side", [9, 10, 14])
def test_other_sides_fail_and_do_not_answer_wrongly(kind, side):
    with pytest.raises(RuntimeError):
        kind(1, 4, 3)(torch.zeros(1, 1, side, 16, 16))


@BOTH
def test_faint_and_bright_patches_differ_since_the_stem_has_no_norm(kind):
    torch.manual_seed(0)
    network, patch = kind(1, 4, 2).eval(), torch.randn(1, 1, 8, 16, 16)
    with torch.inference_mode():
        assert not torch.allclose(network(patch), network(patch + 3), atol=1e-3)


@BOTH
def test_one_answer_per_seed(kind):
    outputs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        outputs.append(kind(1, 4, 2).eval()(torch.ones(1, 1, 8, 8, 8).cumsum(2)))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_an_output_of_the_fast_one_belongs_to_its_own_place():
    """A bright voxel changes the output around itself, not shifted by the halving and doubling."""
    torch.manual_seed(0)
    network = HalfUNet3D(1, 8, 2).eval()
    image = torch.zeros(1, 1, 16, 16, 16)
    total = torch.zeros(3)
    with torch.inference_mode():
        plain = network(image)
        for side in (7, 8):
            spot = image.clone()
            spot[0, 0, side, side, side] = 50.0
            change = (network(spot) - plain).abs().sum(1)[0]
            weights = [change.sum(dim=[d for d in range(3) if d != axis]) for axis in range(3)]
            total += torch.stack([(w * torch.arange(16)).sum() / w.sum() for w in weights])
    assert torch.allclose(total / 2, torch.full((3,), 7.5), atol=1.0)
