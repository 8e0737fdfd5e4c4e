"""What is known of an image without reading voxels: frozen data without open handles, which travels to workers."""

from __future__ import annotations

from dataclasses import dataclass

from bigcp3d.edge.image.transforms import Float3
from bigcp3d.pure.boxes import Vec3


@dataclass(frozen=True)
class Level:
    """One resolution of an image or labels; (z, y, x) only."""

    path: str  # of the array inside the group: "0", "s0"
    shape: Vec3
    scale_um: Float3 | None  # micrometres per voxel; None where the store does not say
    translation_um: Float3  # of the first voxel's centre; zeros where the store does not say


@dataclass(frozen=True)
class ImageInfo:
    """What is known of an image without reading voxels."""

    path: str  # of the group, absolute
    version: str  # of OME-Zarr, "0.1" to "0.6"
    zarr_format: int  # 2 or 3
    axes: tuple[str, ...]
    levels: tuple[Level, ...]  # finest first
    dtype: str  # numpy's name: "uint16"
    channels: int  # 1 where there is no such axis, as for times
    times: int
    channel_names: tuple[str, ...]  # empty where the store names none
    label_names: tuple[str, ...]
    units: tuple[str | None, ...] = (None, None, None)  # of z, y, x in the store's words; None where it is no length
