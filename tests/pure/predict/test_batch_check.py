"""Batches of several patches: of one shape, and used only where they change no bit, whatever the block."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bigcp3d.pure.boxes import BlockGrid, Vec3
from bigcp3d.pure.predict.batch_check import BATCH_VOX, MOST, batch_is_safe, largest_batch, safe_batch
from bigcp3d.pure.predict.patches import PatchGrid
from bigcp3d.pure.predict.run_network import fix_arithmetic, sum_patches
from tests.devices import on_devices

GRID = PatchGrid((11, 18, 15), (8, 12, 12), 2)


class Unsteady(nn.Module):
    """A network whose answer depends on the place in the batch, or on what lies beside it."""

    def __init__(self, network: nn.Module, by: str) -> None:
        super().__init__()
        self.network, self.by = network, by

    def forward(self, patches: Tensor) -> Tensor:
        answers: Tensor = self.network(patches)
        if self.by == "place":
            return answers * (1 - 0.01 * torch.arange(len(patches))[:, None, None, None, None])
        return answers * (1 - 0.01 * (patches[1:] != 0).any())


@pytest.fixture(scope="module")
def network() -> nn.Module:
    fix_arithmetic()
    torch.manual_seed(3)
    layers = [nn.Conv3d(1, 6, 3, padding=1), nn.InstanceNorm3d(6), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv3d(6, 4, 3, padding=1), nn.Tanh()).eval()


def maps_in(block: Vec3, network: nn.Module, batch: int) -> np.ndarray:
    """Maps of the volume, predicted block by block with the patches that each block touches, layer by layer."""
    image = np.random.default_rng(0).normal(0, 1, GRID.shape).astype(np.float32)
    maps = np.empty((4, *GRID.shape), np.int8)
    for box in map(BlockGrid(GRID.shape, block).core, BlockGrid(GRID.shape, block)):
        touching = [patch for patch in GRID.cores if not GRID.window(patch).intersect(box).empty]
        layers = [list(layer) for _, layer in itertools.groupby(touching, key=lambda patch: patch[0])]
        sums = sum_patches(lambda part: image[part.slices()][None], layers, box, GRID, network, batch=batch)
        maps[(slice(None), *box.slices())] = sums.maps(box)
    return maps


@on_devices
@pytest.mark.parametrize("batch", [2, 3, 5])
def test_maps_in_batches_do_not_depend_on_the_block(network: nn.Module, batch: int, device: str) -> None:
    network.to(device)
    whole = maps_in(GRID.shape, network, batch)
    assert safe_batch(network, GRID.patch, batch) == batch
    assert all(np.array_equal(maps_in(block, network, batch), whole) for block in [(4, 20, 6), (6, 4, 3)])


@pytest.mark.parametrize("by", ["place", "neighbours"])
def test_control_a_network_that_sees_its_place_is_found_and_gets_one_patch_at_a_time(
    network: nn.Module, by: str
) -> None:
    unsteady = Unsteady(network.to("cpu"), by)
    assert not batch_is_safe(unsteady, GRID.patch, 3)
    assert safe_batch(unsteady, GRID.patch, 3) == 1
    assert not np.array_equal(maps_in((6, 4, 3), unsteady, 3), maps_in(GRID.shape, unsteady, 3))
    assert np.array_equal(maps_in((6, 4, 3), unsteady, 1), maps_in(GRID.shape, unsteady, 1))


def test_every_batch_has_the_same_shape(network: nn.Module) -> None:
    seen: set[tuple[int, ...]] = set()
    hook = network.register_forward_pre_hook(lambda _, inputs: seen.add(tuple(inputs[0].shape)))
    maps_in((6, 9, 8), network.to("cpu"), 4)
    hook.remove()
    assert seen == {(4, 1, *GRID.patch)}


def test_batches_of_several_are_for_gpus_and_hold_as_many_voxels_as_fill_one() -> None:
    assert largest_batch("cpu", (8, 8, 8)) == 1
    assert largest_batch("cuda", (96, 96, 96)) == 4
    assert largest_batch("cuda", (8, 8, 8)) == MOST
    assert largest_batch("cuda", (192, 192, 192)) == 1
    assert BATCH_VOX >= 96**3 * 4


def test_one_patch_at_a_time_runs_nothing_to_find_out() -> None:
    assert safe_batch(nn.Module(), (8, 8, 8), 1) == 1
