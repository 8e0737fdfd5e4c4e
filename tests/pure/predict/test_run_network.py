"""Prediction of blocks against prediction of the whole volume, with a small network in the loop."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3
from bigcp3d.pure.predict import run_network as predict
from bigcp3d.pure.predict.patches import PatchGrid
from bigcp3d.pure.predict.run_network import (
    fast_precision,
    fix_arithmetic,
    mend_border,
    run_network,
    sum_patches,
    take_patch,
)
from tests.devices import on_devices

SHAPE: Vec3 = (11, 18, 15)
GRIDS = [PatchGrid(SHAPE, (8, 12, 12), 2), PatchGrid(SHAPE, (16, 24, 8), 2), PatchGrid(SHAPE, (40, 32, 32), 4)]


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    fix_arithmetic()
    torch.manual_seed(3)
    layers = [torch.nn.Conv3d(1, 6, 3, padding=1), torch.nn.InstanceNorm3d(6), torch.nn.LeakyReLU(0.2)]
    return torch.nn.Sequential(*layers, torch.nn.Conv3d(6, 4, 3, padding=1), torch.nn.Tanh()).eval()


@pytest.fixture(scope="module")
def image() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32)


def predict_box(
    image: NDArray[np.float32], box: Box, grid: PatchGrid, network: torch.nn.Module, **how: bool
) -> NDArray[np.int8]:
    """Maps of a box, from all patches that meet it, each a layer of its own."""
    layers = [[patch] for patch in grid.cores if not grid.window(patch).intersect(box).empty]
    return sum_patches(lambda region: image[region.slices()].copy()[None], layers, box, grid, network, **how).maps(box)


def predict_all(image: NDArray[np.float32], grid: PatchGrid, network: torch.nn.Module, **how: bool) -> NDArray[np.int8]:
    return predict_box(image, Box.of_shape(grid.shape), grid, network, **how)


def predict_in(
    block: Vec3, image: NDArray[np.float32], grid: PatchGrid, network: torch.nn.Module, **how: bool
) -> NDArray[np.int8]:
    maps = np.full((4, *grid.shape), -128, np.int8)
    for box in map(BlockGrid(grid.shape, block).core, BlockGrid(grid.shape, block)):
        maps[(slice(None), *box.slices())] = predict_box(image, box, grid, network, **how)
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
    for axis, size in enumerate(SHAPE):  # the flow across the border is that of the next plane
        cut[1 + axis] = np.take(cut[1 + axis], np.clip(np.arange(size), 1, size - 2), axis)
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
            patch = take_patch(torch.from_numpy(image)[None], Box.of_shape(SHAPE), window, grid)
            assert np.array_equal(patch[0].numpy(), padded[window.slices((-40, -40, -40))])


def test_the_flow_across_the_border_is_that_of_the_next_plane_inside() -> None:
    rng = np.random.default_rng(3)
    for shape in (SHAPE, (1, 2, 15)):
        for grid in (PatchGrid(shape, grid.patch, grid.margin) for grid in GRIDS):
            volume = rng.normal(0, 1, (4, *shape)).astype(np.float32)
            mended = volume.copy()
            for axis, size in enumerate(shape):
                plane = [slice(None)] * 3
                for border, inside in ((0, 1), (size - 1, size - 2)) if size > 1 else ():
                    to, source = list(plane), list(plane)
                    to[axis], source[axis] = border, inside
                    mended[(1 + axis, *to)] = mended[(1 + axis, *source)]
            for index in grid.cores:
                window, wide = grid.window(index), ((0, 0), *((40, 40),) * 3)
                at = (slice(None), *window.slices((-40, -40, -40)))
                answer = torch.from_numpy(np.pad(volume, wide)[at].copy())
                mend_border(answer, window, shape)
                assert np.array_equal(answer.numpy(), np.pad(mended, wide)[at])


def test_what_is_predicted_is_mended(
    image: NDArray[np.float32], network: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    for grid in GRIDS:
        mended = predict_all(image, grid, network)
        with monkeypatch.context() as patch:
            patch.setattr(predict, "mend_border", lambda *_: None)
            raw = predict_all(image, grid, network)
        assert np.array_equal(mended[:, 1:-1, 1:-1, 1:-1], raw[:, 1:-1, 1:-1, 1:-1])
        assert np.array_equal(mended[0], raw[0])
        assert all((mended[1 + axis] != raw[1 + axis]).any() for axis in range(3))


def test_volumes_of_one_plane_are_predicted(network: torch.nn.Module) -> None:
    shape: Vec3 = (1, 9, 1)
    image = np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)
    grid = PatchGrid(shape, (8, 8, 8), 2)
    whole = predict_all(image, grid, network)
    assert np.array_equal(predict_in((1, 2, 1), image, grid, network), whole)


def test_the_network_sees_one_patch_at_a_time(network: torch.nn.Module) -> None:
    seen: list[tuple[int, ...]] = []
    hook = network.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    result = run_network(network, torch.zeros(1, 1, 8, 8, 8)).numpy()
    zeros = np.zeros((1, *SHAPE), np.float32)
    sum_patches(lambda box: zeros[(0, *box.slices())][None], [[(0, 0, 0)]], Box.of_shape(SHAPE), GRIDS[0], network)
    hook.remove()
    assert seen == [(1, 1, 8, 8, 8), (1, 1, *GRIDS[0].patch)]
    assert result.shape == (1, 4, 8, 8, 8)
    assert result.dtype == np.float32
    assert np.abs(result).max() <= 1


def test_a_layer_is_read_once_and_only_what_it_sees(image: NDArray[np.float32], network: torch.nn.Module) -> None:
    grid, asked = GRIDS[0], []

    def read(box: Box) -> NDArray[np.float32]:
        asked.append(box)
        return image[box.slices()][None]

    layers = [[patch for patch in grid.cores if patch[0] == z] for z in range(grid.cores.counts[0])]
    whole = Box.of_shape(SHAPE)
    sums = sum_patches(read, layers, whole, grid, network)
    assert asked == [grid.read_box(layer) for layer in layers]
    assert asked[0].stop[0] < SHAPE[0]
    assert np.array_equal(sums.maps(whole), predict_all(image, grid, network))


OTHERS = [pytest.param(torch.bfloat16, grid, marks=pytest.mark.slow) for grid in GRIDS[1:]]


@on_devices
@pytest.mark.parametrize(
    ("precision", "grid"), [*((torch.float32, grid) for grid in GRIDS), (torch.bfloat16, GRIDS[0]), *OTHERS]
)
def test_reading_ahead_changes_no_bit_on_any_device(
    image: NDArray[np.float32], network: torch.nn.Module, precision: torch.dtype, grid: PatchGrid, device: str
) -> None:
    placed = copy.deepcopy(network).to(device, precision)
    maps = predict_all(image, grid, placed, ahead=False)
    for ahead in (True, False):
        for block in ((50, 60, 70), (6, 9, 8)):
            assert np.array_equal(predict_in(block, image, grid, placed, ahead=ahead), maps)


@on_devices
def test_sums_lie_where_the_network_does(image: NDArray[np.float32], network: torch.nn.Module, device: str) -> None:
    placed, grid, whole = copy.deepcopy(network).to(device), GRIDS[0], Box.of_shape(SHAPE)
    sums = sum_patches(lambda box: image[box.slices()][None], [[(0, 0, 0)]], whole, grid, placed)
    assert sums.total.device.type == device
    part = Box((0, 2, 1), (5, 7, 9))
    assert sums.sums(part).any()
    assert np.array_equal(sums.sums(part), sums.sums(whole)[(slice(None), *part.slices())])


@pytest.mark.parametrize("batch", [1, 2])
def test_threads_over_patches_change_no_bit(
    image: NDArray[np.float32], network: torch.nn.Module, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: set[tuple[str, int]] = set()
    hook = network.register_forward_pre_hook(
        lambda *_: used.add((threading.current_thread().name.rpartition("_")[0], torch.get_num_threads()))
    )
    grid, whole, seen = GRIDS[0], Box.of_shape(SHAPE), image.copy()
    seen[:, :, : SHAPE[2] // 2] = 0.5  # patches of a single value as well
    layers = [[index for index in grid.cores if index[0] == z] for z in range(grid.cores.counts[0])]
    sums = [
        sum_patches(lambda box: seen[box.slices()][None], layers, whole, grid, network, batch=batch, threads=threads)
        for threads in (1, 2, 5)
    ]
    hook.remove()
    assert ("bigcp3d-network", 1) in used  # other threads computed, and each operation stayed on one thread
    assert {count for _, count in used} == {1}
    assert all(np.array_equal(each.sums(whole), sums[0].sums(whole)) for each in sums[1:])


@pytest.mark.parametrize("ahead", [True, False])
def test_what_reading_raises_is_raised_and_the_network_runs_until_then(
    image: NDArray[np.float32], network: torch.nn.Module, ahead: bool
) -> None:
    grid, seen = GRIDS[0], []

    def read(box: Box) -> NDArray[np.float32]:
        if box.start[0] > 0:
            raise OSError("a chunk is damaged")
        return image[box.slices()][None]

    hook = network.register_forward_pre_hook(lambda *_: seen.append(1))
    layers = [[(z, 0, 0)] for z in range(grid.cores.counts[0])]
    with pytest.raises(OSError, match="damaged"):
        sum_patches(read, layers, Box.of_shape(SHAPE), grid, network, ahead=ahead)
    hook.remove()
    assert len(seen) == 1


def test_the_network_computes_in_the_dtype_of_its_parameters(
    image: NDArray[np.float32], network: torch.nn.Module
) -> None:
    seen: list[torch.dtype] = []
    half = copy.deepcopy(network).to(torch.bfloat16)
    half.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    grid = GRIDS[0]
    maps, exact = predict_all(image, grid, half), predict_all(image, grid, network)
    assert set(seen) == {torch.bfloat16}
    difference = np.abs(maps.astype(int) - exact)
    assert 0 < difference.mean() < 1  # control: it is another precision, and near
    for block in ((4, 20, 6), (6, 9, 8)):
        assert np.array_equal(predict_in(block, image, grid, half), maps)
    with torch.autocast("cpu"):  # of the program that calls bigcp3d
        assert np.array_equal(predict_all(image, grid, network), exact)


def test_the_fast_precision_follows_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert fast_precision("cpu") == "float32"
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert fast_precision("cpu") == "bfloat16"
    for capability, precision in (((7, 5), "float32"), ((9, 0), "bfloat16")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda c=capability: c)
        assert fast_precision("cuda") == precision
