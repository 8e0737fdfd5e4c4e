"""Memory of each pass, computed from integers before anything runs.

Every figure is an upper bound on what one task adds to an idle worker: the arrays that live at the same time, in bytes
per voxel of the boxes that they cover. `BASE_BYTES` is what a worker holds before its first task (Python, dask, numba,
torch and the network). Tests compare measured peaks with them.
"""

from __future__ import annotations

import math

from bigcp3d.pure.boxes import Vec3

BASE_BYTES = 500 * 2**20
SLACK = 1.15
"""Allocator overhead and small things, as a factor on the arrays."""

SAMPLE_BYTES_PER_VOX = 24
"""The normalisation's sample: raw values, float32, finite mask, partition."""

TABLE_BYTES_PER_VOX = 2
"""Sinks and components with their sums: about 150 bytes each, one for 75 voxels at the worst."""


def _grown(shape: Vec3, by: int) -> int:
    """Voxels of a box that is grown by ``by`` on every side."""
    return math.prod(s + 2 * by for s in shape)


def network_bytes(patch: Vec3, features: int, channels: int, architecture: str) -> int:
    """One patch in one of our networks: mostly activations at its finest level and the convolutions' own copies.

    Measured, in floats for each feature and voxel of the patch: 8.6 for "eschweiler", 0.6 to 1.4 for "half"
    (5.5 in bfloat16 without instructions for it, which is too slow to be used).
    """
    floats = (2 if architecture == "half" else 9) * features
    return math.prod(patch) * 4 * (floats + 5 + channels) + 64 * 2**20


def pass_bytes(
    *,
    block: Vec3,
    itemsize: int,
    maps_itemsize: int,
    reach: int,
    radius: int,
    label_block: Vec3,
    label_working: Vec3,
    label_itemsize: int,
    sample_vox: int,
    looking_halo: int,
) -> dict[str, int]:
    """Peak bytes of one task of each pass beyond an idle worker; for prediction see `prediction_bytes`.

    ``block`` is the core of a block on the working grid; ``reach`` and ``radius`` are those of tracking and closing.
    ``itemsize``, ``maps_itemsize`` and ``label_itemsize`` are the bytes of an image voxel, of a value of given maps and
    of a label. ``label_block`` is a block of the label image, ``label_working`` what it reads on the working grid.
    ``sample_vox`` are the voxels of the normalisation's sample. ``looking_halo`` is
    `bigcp3d.pure.label.deciding_box.halo`: 0 where the labels are on the working grid.
    """
    given = 4 * maps_itemsize if maps_itemsize > 1 else 0  # read whole before they become int8
    core, halo = math.prod(block), _grown(block, max(reach, looking_halo) + 1)
    tables = TABLE_BYTES_PER_VOX * core
    table = {
        "normalise": SAMPLE_BYTES_PER_VOX * sample_vox,
        # maps, as stored where they are floats, and their interleaved copy; offsets; slots of sinks; masks; the image,
        # if it may hold NaN; how many voxels look at each
        "track": (12 + given) * halo + (3 + itemsize + 8) * core + tables,
        # painted and eroded masks; labels and two masks for the faces
        "cluster": 2 * _grown(block, radius) + 12 * core + 4 * tables,
        "check": 12 * halo + 64 * core // 4,
        # offsets, labels, maps and mask; ids of the sinks around; labels at the image's resolution twice
        "label": (3 + label_itemsize + (5 + given if looking_halo else 0)) * math.prod(label_working)
        + label_itemsize * _grown(label_working, reach)
        + 3 * label_itemsize * math.prod(label_block),
        # a shard of the level below, as stored, as decoded and as read; the coarser labels, twice more to be written
        "pyramid": 6 * label_itemsize * math.prod(label_block),
    }
    return {name: int(SLACK * number) for name, number in table.items()}


def prediction_bytes(
    *,
    read_vox: int,
    layer_vox: int,
    extent_vox: int,
    map_vox: int,
    shell_vox: int,
    hand_over: bool,
    patch_bytes: int,
    itemsize: int,
    channels: int,
    prepared_bytes: int = 0,
) -> dict[str, int]:
    """Peak bytes of one task of ``predict``, and of ``merge`` where there is one, beyond an idle worker.

    ``read_vox`` and ``layer_vox`` are the largest region that is read at once (a layer of patches), in voxels of the
    image and of the working grid. ``extent_vox``, ``map_vox`` and ``shell_vox`` are a block's extent, core and shell,
    and ``hand_over`` is whether blocks share voxels (`bigcp3d.pure.predict.patch_blocks`). The network needs
    ``patch_bytes`` for the patches that it computes at a time. An image voxel has ``itemsize`` bytes, and each of the
    ``channels`` is resampled by itself. Filters before the network need ``prepared_bytes`` at their peak.
    """
    # the image as read and resampled; maps, twice more where a shard is written
    more = 4 * layer_vox * channels if channels > 1 else 0
    both = max((itemsize + 12) * read_vox, prepared_bytes) + 8 * layer_vox + more + 12 * map_vox
    # the plan does not know who has a GPU, so the larger of two: sums and activations on a CPU; beside a GPU, where a
    # layer is read ahead, the layer before it, and the sums that are handed over
    handed = 16 * (shell_vox + extent_vox - map_vox)
    table = {"predict": both + max(16 * extent_vox + patch_bytes, 4 * layer_vox * channels + handed)}
    if hand_over:  # own sums, those from other blocks (one file at a time); maps as kept and whole, and as a shard
        table["merge"] = handed + 16 * map_vox
    return {name: int(SLACK * number) for name, number in table.items()}


def format_bytes(number: int) -> str:
    """Bytes with a unit: "1.5 GiB"."""
    value, units = float(number), ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if value >= 100 or units[0] == "B" else f"{value:.1f} {units[0]}"
