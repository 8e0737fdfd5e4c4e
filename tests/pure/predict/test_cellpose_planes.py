"""A 2D network on three orientations of planes: equal to loops over planes in numpy, and to Cellpose's own 3D code."""

import numpy as np
import pytest
import torch
from torch import nn

from bigcp3d.pure.predict.cellpose_planes import FLOW_UNIT, PLANES, PlaneNetwork

SHAPE = (PLANES + 3, 2 * PLANES, PLANES + 5)


class Fake(nn.Module):
    """Cellpose-like: unequal in rows and columns, and with a mean over the plane, as its style vector has."""

    def __init__(self, channels=2, outputs=3):
        super().__init__()
        self.convolution = nn.Conv2d(channels, outputs, (3, 5), padding=(1, 2))

    def forward(self, x):
        return self.convolution(x) + x.mean(dim=(1, 2, 3), keepdim=True), torch.zeros(len(x), 256)


@pytest.fixture
def fake():
    torch.manual_seed(1)
    return Fake().eval().requires_grad_(False)


def volume(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).random(shape, np.float32)


def one_plane(network, plane, channels=2):
    """Flow along rows and columns, and logit, of one plane alone."""
    seen = np.zeros((1, channels, *plane.shape), np.float32)
    seen[0, 0] = plane
    with torch.inference_mode():
        return network(torch.from_numpy(seen))[0][0].numpy()


def by_hand(network, image):
    """Foreground and flow, plane by plane, with plain indexing."""
    flows = {axis: [] for axis in "zyx"}
    logits = []
    for normal, (rows, columns) in ((0, "yx"), (1, "zx"), (2, "zy")):
        answers = [one_plane(network, np.take(image, i, axis=normal)) for i in range(image.shape[normal])]
        flow_rows, flow_columns, logit = (np.stack([a[k] for a in answers], axis=normal) for k in range(3))
        flows[rows].append(flow_rows)
        flows[columns].append(flow_columns)
        logits.append(logit)
    flow = [np.mean(flows[axis], axis=0) / 5 for axis in "zyx"]
    return np.stack([1 / (1 + np.exp(-np.mean(logits, axis=0))), *flow])


def run(network, image):
    with torch.inference_mode():
        return network(torch.from_numpy(image)[None, None])[0].numpy()


def test_it_equals_a_loop_over_planes(fake):
    image = volume()
    found, expected = run(PlaneNetwork(fake, 2), image), by_hand(fake, image)
    assert found.shape == (4, *SHAPE)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not np.allclose(found[2], expected[3], atol=1e-3)  # control: axes are told apart


def test_several_volumes_are_answered_one_by_one(fake):
    images = np.stack([volume(1), volume(2)])[:, None]
    with torch.inference_mode():
        both = PlaneNetwork(fake, 2)(torch.from_numpy(images)).numpy()
    assert np.array_equal(both, np.stack([run(PlaneNetwork(fake, 2), image[0]) for image in images]))


def test_the_threshold_of_cellpose_is_a_half():
    class Level(nn.Module):
        def __init__(self, logit):
            super().__init__()
            self.logit = nn.Parameter(torch.tensor(float(logit)))

        def forward(self, x):
            return torch.stack([5 * x[:, 0], -5 * x[:, 0], self.logit.expand(x[:, 0].shape)], dim=1)

    for logit, foreground in ((0.0, 0.5), (1e-3, 0.50025), (-30.0, 0.0), (30.0, 1.0)):
        found = run(PlaneNetwork(Level(logit), 1), np.full(SHAPE, 0.5, np.float32))
        np.testing.assert_allclose(found[0], foreground, atol=1e-6)
    # rows are z or y, columns are y or x; a flow of 5 is one voxel per step, and the two planes are averaged
    np.testing.assert_allclose(found[1:, 0, 0, 0], [0.5, 0.0, -0.5], atol=1e-6)


def test_planes_of_one_size_are_padded_in_the_middle_and_cut_again(fake):
    image = volume()
    side = 24
    around = [((side - s) // 2, side - s - (side - s) // 2) for s in SHAPE]
    seen = []

    class Watched(Fake):
        def forward(self, x):
            seen.append(tuple(x.shape[1:]))
            return super().forward(x)

    network = Watched()
    network.load_state_dict(fake.state_dict())
    found = run(PlaneNetwork(network.eval(), 2, side=side), image)
    assert set(seen) == {(2, side, side)}
    plane = np.pad(image[3], (around[1], around[2]))
    inside = (slice(None), *(slice(a, a + s) for (a, _), s in zip(around[1:], SHAPE[1:], strict=True)))
    flow_y = one_plane(network, plane)[inside][0]
    plane = np.pad(image[:, :, 4], (around[0], around[1]))
    inside = (slice(None), *(slice(a, a + s) for (a, _), s in zip(around[:2], SHAPE[:2], strict=True)))
    also = one_plane(network, plane)[inside][1]
    np.testing.assert_allclose(found[2, 3, :, 4], (flow_y[:, 4] + also[3]) / 2 / FLOW_UNIT, atol=1e-6)


def test_it_computes_in_the_dtype_of_its_parameters(fake):
    image = volume()
    exact = run(PlaneNetwork(fake, 2), image)
    rough = run(PlaneNetwork(fake, 2).to(torch.bfloat16), image)
    assert rough.dtype == np.float32
    np.testing.assert_allclose(rough, exact, atol=0.02)
    assert not np.array_equal(rough, exact)


def test_it_equals_the_3d_code_of_cellpose(monkeypatch):
    """Its sums over planes are twice our averages for flows and three times for logits; it also pads every plane."""
    pytest.importorskip("cellpose", reason="Cellpose is not installed: its own 3D code cannot be compared with")
    core = import_core()
    monkeypatch.setattr(core.transforms, "get_pad_yx", lambda *sizes, **more: (0, 0, 0, 0))
    torch.manual_seed(0)
    from cellpose.resnet_torch import CPnet

    network = CPnet([2, 4, 8, 256], 3, 3).eval().requires_grad_(False)
    image = volume(shape=(8, 12, 16))
    network.output[2].weight *= 30  # a foreground with both sides of its threshold
    network.output[2].bias[2] -= torch.logit(torch.from_numpy(run(PlaneNetwork(network, 2), image)[0])).median()
    theirs, _ = core.run_3D(network, np.stack([image, np.zeros_like(image)], axis=-1), batch_size=PLANES)
    found = run(PlaneNetwork(network, 2), image)
    np.testing.assert_allclose(found[1:], np.moveaxis(theirs[..., :3], -1, 0) / 10, atol=1e-6)
    np.testing.assert_allclose(found[0], 1 / (1 + np.exp(-theirs[..., 3] / 3)), atol=1e-6)
    sure = np.abs(theirs[..., 3]) > 1e-5
    assert np.array_equal((found[0] > 0.5)[sure], (theirs[..., 3] > 0)[sure])
    assert 0.1 < np.mean(found[0] > 0.5) < 0.9  # control: there is something to agree on


def import_core():
    """`cellpose.core` of Cellpose 3; its dependencies warn about themselves."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("cellpose.resnet_torch", reason="Cellpose 3's network is not in this version")
        from cellpose import core
    return core
