"""What is known of an image without reading voxels: frozen data without open handles, which travels to workers."""

from __future__ import annotations

from dataclasses import dataclass

from bigcp3d.edge.image.transforms import Float3
from bigcp3d.pure.boxes import Vec3


@dataclass(frozen=True)
class Level:
    """One resolution of an image or labels; (z, y, x) only.

    Attributes
    ----------
    path : str
        Of the array inside the group: ``"0"``, ``"s0"``.
    shape : tuple of int
        Voxels.
    scale_um : tuple of float, or None
        Micrometres per voxel; None where the store does not say.
    translation_um : tuple of float
        Position of the first voxel's centre; zeros where the store does not say.
    """

    path: str
    shape: Vec3
    scale_um: Float3 | None
    translation_um: Float3


@dataclass(frozen=True)
class ImageInfo:
    """What is known of an image without reading voxels.

    Attributes
    ----------
    path : str
        The group, absolute.
    version, zarr_format
        OME-Zarr ``"0.1"`` to ``"0.6"``; zarr 2 or 3.
    axes : tuple of str
        Names in order.
    levels : tuple of Level
        Finest first.
    dtype : str
        numpy's name: ``"uint16"``.
    channels, times : int
        1 where there is no such axis.
    channel_names, label_names : tuple of str
        Empty where the store names no channels or holds no labels.
    units : tuple of str or None
        Units of z, y, x as the store words them; None where it states none, or none that is a length.
    """

    path: str
    version: str
    zarr_format: int
    axes: tuple[str, ...]
    levels: tuple[Level, ...]
    dtype: str
    channels: int
    times: int
    channel_names: tuple[str, ...]
    label_names: tuple[str, ...]
    units: tuple[str | None, ...] = (None, None, None)
