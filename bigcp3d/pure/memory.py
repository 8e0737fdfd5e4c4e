"""Memory of each pass, computed from integers before anything runs.

Every figure is an upper bound on what one task adds to an idle worker: the arrays that live at the same time, in bytes
per voxel of the boxes that they cover. `BASE_BYTES` is what a worker holds before its first task (Python, dask, numba,
torch and the network). Tests hold measured peaks against these figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from bigcp3d.pure.boxes import Vec3, vec3

BASE_BYTES = 500 * 2**20
SLACK = 1.15
"""Allocator overhead and small things, as a factor on the arrays."""

SAMPLE_BYTES_PER_VOX = 24
"""The normalisation's sample: raw values, float32, finite mask, partition."""

TABLE_BYTES_PER_VOX = 2
"""Sinks and components with their sums: about 150 bytes each, one for 75 voxels at the worst."""


def _volume(shape: Vec3) -> int:
    return math.prod(shape)


def _grow(shape: Vec3, by: int) -> Vec3:
    return vec3(s + 2 * by for s in shape)


def network_bytes(patch: Vec3, features: int, channels: int = 1) -> int:
    """One patch in one of our networks: mostly activations at full resolution and the convolutions' own copies.

    Measured: 8.6 for each feature and voxel, times four bytes.
    """
    return _volume(patch) * 4 * (9 * features + 5 + channels) + 64 * 2**20


def pass_bytes(
    *,
    block: Vec3,
    read_vox: int,
    layer_vox: int,
    extent_vox: int,
    map_vox: int,
    shell_vox: int,
    hand_over: bool,
    patch_bytes: int,
    itemsize: int,
    reach: int,
    radius: int,
    label_block: Vec3,
    label_working: Vec3,
    label_itemsize: int,
    sample_vox: int,
    network: bool,
    maps_itemsize: int = 1,
    channels: int = 1,
    votes: bool = False,
) -> dict[str, int]:
    """Peak bytes that one task of each pass needs beyond an idle worker.

    Parameters
    ----------
    block : tuple of int
        Core of a block on the working grid, in voxels.
    read_vox, layer_vox : int
        Largest image region that ``predict`` reads at once (a layer of patches), in voxels of the image and of the
        working grid.
    extent_vox, map_vox, shell_vox : int
        Extent, core and shell of a block of patches (`bigcp3d.pure.predict.patch_blocks`).
    hand_over : bool
        Whether there are such neighbours.
    patch_bytes : int
        What the network needs for one patch.
    itemsize, label_itemsize : int
        Bytes of an image voxel and of a label.
    reach, radius : int
        Of tracking and closing, in voxels.
    label_block, label_working : tuple of int
        A block of the label image, and what it reads on the working grid.
    sample_vox : int
        Voxels of the normalisation's sample.
    network : bool
        Whether ``predict`` runs at all.
    maps_itemsize : int
        Bytes of a stored value of given maps.
    channels : int
        Channels that the network reads; each is resampled by itself.
    votes : bool
        Whether labels are coarser than the working grid.
    """
    given = 4 * maps_itemsize if maps_itemsize > 1 else 0  # read whole before they become int8
    core, halo = _volume(block), _volume(_grow(block, reach + 1))
    tables = TABLE_BYTES_PER_VOX * core
    table = {
        "normalise": SAMPLE_BYTES_PER_VOX * sample_vox,
        # maps, as stored where they are floats, and their interleaved copy; offsets; slots of sinks; the image as read,
        # resampled, quantised
        "track": (12 + given) * halo + (3 + itemsize + 16) * core + tables,
        # painted and eroded masks; labels and two masks for the faces
        "cluster": 2 * _volume(_grow(block, radius)) + 12 * core + 4 * tables,
        "check": 12 * halo + 64 * core // 4,
        # offsets, labels, ids of the sinks around, labels at the image's resolution twice
        "label": (3 + label_itemsize) * _volume(label_working)
        + label_itemsize * _volume(_grow(label_working, reach))
        + 3 * label_itemsize * _volume(label_block),
        "pyramid": (9 + 2) * label_itemsize * _volume(label_block),
    }
    if votes:  # offsets, numbers of objects; ids of the sinks around; what wins, and sorted to be counted
        table["vote"] = (
            11 * _volume(label_working) + 8 * _volume(_grow(label_working, reach)) + 24 * _volume(label_block)
        )
    if network:
        # the image as read and resampled; maps, twice more where a shard is written
        more = 4 * layer_vox * channels if channels > 1 else 0
        both = (itemsize + 12) * read_vox + 8 * layer_vox + more + 12 * map_vox
        # the plan does not know who has a GPU, so the larger of two: sums and activations on a CPU; beside a GPU, where
        # a layer is read ahead, the layer before it, and the sums that are handed over
        on_cpu = 16 * extent_vox + patch_bytes
        beside_gpu = 4 * layer_vox * channels + 16 * (shell_vox + extent_vox - map_vox)
        table["predict"] = both + max(on_cpu, beside_gpu)
        if hand_over:  # own sums, those from other blocks (one file at a time); maps as kept and whole, and as a shard
            table["merge"] = 16 * (shell_vox + extent_vox - map_vox) + 16 * map_vox
    return {name: int(SLACK * number) for name, number in table.items()}


def worker_bytes(passes: Mapping[str, int]) -> int:
    """Peak bytes of a worker that runs one task at a time."""
    return BASE_BYTES + max(passes.values())


def format_bytes(number: int) -> str:
    """Bytes with a unit: "1.5 GiB"."""
    value, units = float(number), ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if value >= 100 or units[0] == "B" else f"{value:.1f} {units[0]}"
