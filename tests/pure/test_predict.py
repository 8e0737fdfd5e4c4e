"""Prediction of blocks against prediction of the whole volume, with a small network in the loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3
from bigcp3d.pure.patches import PatchGrid
from bigcp3d.pure.predict import predict_block, run_network, take_patch, use_one_thread

SHAPE: Vec3 = (11, 18, 15)
GRIDS = [PatchGrid(SHAPE, (8, 12, 12), 2), PatchGrid(SHAPE, (16, 24, 8), 2), PatchGrid(SHAPE, (40, 32, 32), 4)]


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    use_one_thread()
    torch.manual_seed(3)
    layers = [torch.nn.Conv3d(1, 6, 3, padding=1), torch.nn.InstanceNorm3d(6), torch.nn.LeakyReLU(0.2)]
    return torch.nn.Sequential(*layers, torch.nn.Conv3d(6, 4, 3, padding=1), torch.nn.Tanh()).eval()


@pytest.fixture(scope="module")
def image() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32)


def predict_all(image: NDArray[np.float32], grid: PatchGrid, network: torch.nn.Module) -> NDArray[np.int8]:
    whole = Box.of_shape(grid.shape)
    return predict_block(image, whole, whole, grid, network)


def predict_in(block: Vec3, image: NDArray[np.float32], grid: PatchGrid, network: torch.nn.Module) -> NDArray[np.int8]:
    maps = np.full((4, *grid.shape), -128, np.int8)
    for box in map(BlockGrid(grid.shape, block).core, BlockGrid(grid.shape, block)):
        region = grid.read_box(box)
        part = image[region.slices()].copy()
        maps[(slice(None), *box.slices())] = predict_block(part, region, box, grid, network)
    return maps


@pytest.mark.parametrize("grid", GRIDS, ids=["many", "uneven", "larger than the volume"])
@pytest.mark.parametrize("block", [(7, 5, 9), (11, 18, 1), (4, 20, 6), (50, 60, 70), (6, 9, 8)])
def test_blocks_predict_to_the_bit_what_the_volume_predicts(
    block: Vec3, grid: PatchGrid, image: NDArray[np.float32], network: torch.nn.Module
) -> None:
    assert np.array_equal(predict_in(block, image, grid, network), predict_all(image, grid, network))


def test_control_patches_fixed_to_blocks_predict_something_else(
    image: NDArray[np.float32], network: torch.nn.Module
) -> None:
    box = Box((0, 0, 5), (11, 18, 15))
    own = PatchGrid(box.shape, GRIDS[0].patch, GRIDS[0].margin)
    alone = predict_all(image[box.slices()].copy(), own, network)
    assert not np.array_equal(alone, predict_all(image, GRIDS[0], network)[(slice(None), *box.slices())])


def test_one_patch_over_the_volume_is_the_network_on_the_reflected_image(
    image: NDArray[np.float32], network: torch.nn.Module
) -> None:
    grid = GRIDS[2]
    window = grid.window((0, 0, 0))
    padding = [(-a, b - s) for a, b, s in zip(window.start, window.stop, SHAPE, strict=True)]
    padded = np.pad(image, padding, mode="reflect")
    with torch.inference_mode():
        truth = network(torch.from_numpy(padded)[None, None])[0].numpy()
    cut = truth[(slice(None), *Box.of_shape(SHAPE).slices(window.start))] * 127
    cut[0] = np.maximum(cut[0], 0)
    assert np.abs(predict_all(image, grid, network) - cut).max() <= 0.5 + 1 / 32


def test_the_foreground_is_never_negative(image: NDArray[np.float32], network: torch.nn.Module) -> None:
    maps = predict_all(image, GRIDS[0], network)
    assert maps.dtype == np.int8
    assert maps[0].min() == 0
    assert maps[0].max() > 0
    assert maps[1:].min() < 0  # control: the flow may be


def test_patches_are_taken_with_reflection(image: NDArray[np.float32]) -> None:
    for grid in GRIDS:
        padded = np.pad(image, 40, mode="reflect")
        for index in grid.cores:
            window = grid.window(index)
            patch = take_patch(image, Box.of_shape(SHAPE), window, grid)
            assert np.array_equal(patch, padded[window.slices((-40, -40, -40))])


def test_volumes_of_one_plane_are_predicted(network: torch.nn.Module) -> None:
    shape: Vec3 = (1, 9, 1)
    image = np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)
    grid = PatchGrid(shape, (8, 8, 8), 2)
    whole = predict_all(image, grid, network)
    assert np.array_equal(predict_in((1, 2, 1), image, grid, network), whole)


def test_the_network_sees_one_patch_at_a_time(network: torch.nn.Module) -> None:
    seen: list[tuple[int, ...]] = []
    hook = network.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    result = run_network(network, np.zeros((8, 8, 8), np.float32))
    hook.remove()
    assert seen == [(1, 1, 8, 8, 8)]
    assert result.shape == (4, 8, 8, 8)
    assert result.dtype == np.float32
    assert np.abs(result).max() <= 1
