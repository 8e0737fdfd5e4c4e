"""Prediction: patches through the network, and the weighted sums of what it says.

Invariant: a voxel of the maps depends on the image, the normalisation, the network, its precision and the patch grid,
never on the block. Every patch has the same shape, runs alone (batch 1) and on one thread, so that no sum inside the
network is regrouped; merging is integer arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.patches import PatchGrid, merge_patch, reflected


def take_patch(image: NDArray[np.float32], region: Box, window: Box, grid: PatchGrid) -> NDArray[np.float32]:
    """The window's voxels; outside the volume, the reflection less the mark. ``image`` covers ``region``."""
    for axis in range(3):
        index = reflected(window.start[axis], window.stop[axis], grid.shape[axis])
        image = np.take(image, index - region.start[axis], axis=axis)
    inside = window.intersect(Box.of_shape(grid.shape))
    if grid.mark and inside != window:
        marked = image - np.float32(grid.mark)
        marked[inside.slices(window.start)] = image[inside.slices(window.start)]
        return marked
    return image


def run_network(network: torch.nn.Module, patch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Foreground and flow of one patch, float32 (4, z, y, x), foreground in [-1, 1] as the tanh gives it.

    The network computes in the dtype of its parameters.
    """
    first = next(network.parameters())
    with torch.inference_mode():
        output = network(torch.from_numpy(patch)[None, None].to(first.device, first.dtype))[0]
    result: NDArray[np.float32] = output.float().cpu().numpy()
    return result


def sum_patches(
    read: Callable[[Box], NDArray[np.float32]],
    layers: Sequence[Sequence[Vec3]],
    box: Box,
    grid: PatchGrid,
    network: torch.nn.Module,
) -> NDArray[np.int32]:
    """Weighted sums of some patches' predictions.

    Parameters
    ----------
    read : callable
        Gives the normalised image, float32, in a box of the working grid.
    layers : sequence of sequences of patch indices
        The patches; a layer is a box of them in raster order, and is read at once.
    box : Box
        Where sums are wanted.
    grid : PatchGrid
        The volume's patches.
    network : torch.nn.Module
        Takes (1, 1, *grid.patch), returns (1, 4, *grid.patch) in [-1, 1].

    Returns
    -------
    total : ndarray of int32, shape (4, *box.shape)

    Notes
    -----
    Sums of any other patches may be added in any order. 16 bytes a voxel of the box, plus the image that a layer sees
    and the activations of one patch.
    """
    total = np.zeros((4, *box.shape), np.int32)
    for layer in layers:
        region = grid.read_box(layer)
        image = read(region)
        for index in layer:
            window = grid.window(index)
            prediction = run_network(network, take_patch(image, region, window, grid))
            merge_patch(total, box, window, prediction, grid.margin)
        del image  # before the next one is read
    return total


def fast_precision(device: str) -> str:
    """``"bfloat16"`` where a device ("cpu" or "cuda") has instructions for it, else ``"float32"``.

    Without them torch emulates bfloat16, slowly.
    """
    if device == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability() >= (8, 0) else "float32"
    tests = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return "bfloat16" if any(bool(test()) for test in tests if test is not None) else "float32"


def use_one_thread() -> None:
    """Let torch run every operation of this process on one thread; workers and patches are the parallelism."""
    torch.set_num_threads(1)
