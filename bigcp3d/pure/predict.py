"""Prediction of one block: all patches that meet it, through the network, merged into int8 maps.

Invariant: a voxel of the maps depends on the image, the normalisation, the network and the patch grid, never on the
block. Every patch has the same shape, runs alone (batch 1) and on one thread, so that no sum inside the network is
regrouped; merging is integer arithmetic.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Box
from bigcp3d.pure.patches import PatchGrid, finish_merge, merge_patch, reflected


def take_patch(image: NDArray[np.float32], region: Box, window: Box, grid: PatchGrid) -> NDArray[np.float32]:
    """The window's voxels, reflected where it sticks out of the volume; ``image`` covers ``region``."""
    for axis in range(3):
        index = reflected(window.start[axis], window.stop[axis], grid.shape[axis])
        image = np.take(image, index - region.start[axis], axis=axis)
    return image


def run_network(network: torch.nn.Module, patch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Foreground and flow of one patch, float32 (4, z, y, x), foreground in [-1, 1] as the tanh gives it."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        output = network(torch.from_numpy(patch)[None, None].to(device))[0]
    result: NDArray[np.float32] = output.float().cpu().numpy()
    return result


def predict_block(
    image: NDArray[np.float32], region: Box, box: Box, grid: PatchGrid, network: torch.nn.Module
) -> NDArray[np.int8]:
    """Foreground and flow of a block.

    Parameters
    ----------
    image : ndarray of float32, shape ``region.shape``
        Normalised image on the working grid.
    region : Box
        Where it lies; holds ``grid.read_box(box)``.
    box : Box
        The block's core.
    grid : PatchGrid
        The volume's patches.
    network : torch.nn.Module
        Takes (1, 1, *grid.patch), returns (1, 4, *grid.patch) in [-1, 1].

    Returns
    -------
    maps : ndarray of int8, shape (4, *box.shape)
        Foreground (0..127) and flow z, y, x in voxels per step, times 127.

    Notes
    -----
    Exact under blocking on machines of one kind; 20 bytes a voxel of the block, plus the activations of one patch.
    """
    total = np.zeros((4, *box.shape), np.int32)
    for index in grid.touching(box):
        window = grid.window(index)
        prediction = run_network(network, take_patch(image, region, window, grid))
        merge_patch(total, box, window, prediction, grid.margin)
    maps = finish_merge(total, box, grid)
    np.maximum(maps[0], 0, out=maps[0])
    return maps


def use_one_thread() -> None:
    """Let torch run every operation of this process on one thread; workers and patches are the parallelism."""
    torch.set_num_threads(1)
