"""Sums of patches in torch, on each device, against sums in numpy, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from numpy.typing import NDArray

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3
from bigcp3d.pure.predict.patch_sums import PatchSums
from bigcp3d.pure.predict.patches import ONE, SUB, PatchGrid, axis_weights, finish_maps
from tests.devices import on_devices
from tests.pure.predict.test_patches import blocks, cores, grid_of, margins, seeds, sides

quick = settings(deadline=None, max_examples=25)


Parts = dict[Vec3, NDArray[np.float32]]


def summed(grid: PatchGrid, box: Box, parts: Parts, device: str) -> PatchSums:
    sums = PatchSums(box, grid, torch.device(device))
    for index, part in parts.items():
        sums.add(grid.window(index), torch.from_numpy(part).to(device))
    return sums


def summed_by_numpy(grid: PatchGrid, box: Box, parts: Parts) -> NDArray[np.int32]:
    """The reference, int32 (4, *box.shape)."""
    total = np.zeros((4, *box.shape), np.int32)
    for index, part in parts.items():
        window = grid.window(index)
        common = box.intersect(window)
        inside = common.slices(window.start)
        quantised = np.rint(np.clip(part[(slice(None), *inside)], -1, 1) * np.float32(ONE)).astype(np.int32)
        z, y, x = (axis_weights(p, grid.margin)[s].astype(np.int32) for p, s in zip(grid.patch, inside, strict=True))
        total[(slice(None), *common.slices(box.start))] += quantised * z[:, None, None] * y[:, None] * x
    return total


def halves(grid: PatchGrid, seed: int) -> Parts:
    """Predictions of which many lie half way between two multiples of 1/4064, and some outside [-1, 1]."""
    rng = np.random.default_rng(seed)
    limit = 127 * SUB + 40
    return {
        i: (rng.integers(-2 * limit, 2 * limit, (4, *grid.patch)) / 2 / (127 * SUB)).astype(np.float32)
        for i in grid.cores
    }


@on_devices
@quick
@given(sides, cores, margins, blocks, seeds)
def test_sums_and_maps_are_those_of_numpy(
    device: str, shape: Vec3, core: Vec3, margin: int, block: Vec3, seed: int
) -> None:
    grid = grid_of(shape, core, margin)
    parts, cut = halves(grid, seed), BlockGrid(shape, block)
    box = cut.core(list(cut)[seed % len(cut)])
    parts = {i: p for i, p in parts.items() if touches(grid, i, box)}
    sums, reference = summed(grid, box, parts, device), summed_by_numpy(grid, box, parts)
    inner = Box(tuple(min(a + 1, b) for a, b in zip(box.start, box.stop, strict=True)), box.stop)  # type: ignore[arg-type]
    for part in (box, inner):
        total = reference[(slice(None), *part.slices(box.start))]
        for found, expected in ((sums.sums(part), total), (sums.maps(part), finish_maps(total, part, grid))):
            assert found.dtype == expected.dtype
            assert np.array_equal(found, expected)


def touches(grid: PatchGrid, index: Vec3, box: Box) -> bool:
    return not grid.window(index).intersect(box).empty


@on_devices
@pytest.mark.parametrize("value", [1.0, -1.0, 0.5 / 127, -0.5 / 127, 7.5 / 127, -7.5 / 127, 3.0])
def test_rounding_is_half_away_from_zero(device: str, value: float) -> None:
    grid = grid_of((9, 9, 9), (4, 4, 4), 2)
    whole = Box.of_shape(grid.shape)
    parts = {i: np.full((4, *grid.patch), value, np.float32) for i in grid.cores}
    maps = summed(grid, whole, parts, device).maps(whole)
    wanted = np.sign(value) * np.floor(min(abs(value), 1) * 127 + 0.5)
    assert (maps[1:] == wanted).all()
    assert (maps[0] == max(wanted, 0)).all()


def test_control_half_to_even_would_be_another_map() -> None:
    grid = grid_of((9, 9, 9), (4, 4, 4), 2)
    whole = Box.of_shape(grid.shape)
    parts = {i: np.full((4, *grid.patch), 2.5 / 127, np.float32) for i in grid.cores}
    assert (summed(grid, whole, parts, "cpu").maps(whole) == 3).all()
    assert np.rint(2.5) == 2


@on_devices
def test_the_largest_sums_do_not_overflow(device: str) -> None:
    grid = grid_of((20, 20, 20), (4, 4, 4), 2)
    whole = Box.of_shape(grid.shape)
    for value in (1.0, -1.0):
        parts = {i: np.full((4, *grid.patch), value, np.float32) for i in grid.cores}
        sums = summed(grid, whole, parts, device)
        assert (np.sign(sums.sums(whole)) == value).all()
        assert np.array_equal(sums.maps(whole), finish_maps(summed_by_numpy(grid, whole, parts), whole, grid))
