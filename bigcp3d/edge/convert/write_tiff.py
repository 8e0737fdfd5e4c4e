"""Writes OME-TIFF and ImageJ hyperstacks plane by plane, with voxel size and names; a file is complete or absent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from bigcp3d.edge.stores.atomic_files import write_atomically
from bigcp3d.edge.stores.zarr_write import writing
from bigcp3d.pure.boxes import Float3

IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
"""What ImageJ can hold; the other types would be refused or misread."""

CLASSIC_BYTES = 2**32 - 2**25
"""Largest file without the 64-bit offsets of BigTIFF."""


def is_ome(path: str | Path) -> bool:
    """Whether a name asks for OME-TIFF."""
    return Path(path).name.lower().endswith((".ome.tif", ".ome.tiff", ".ome.btf"))


def write_tiff(
    path: Path,
    planes: Iterable[NDArray[Any]],
    shape: Sequence[int],
    dtype: str,
    *,
    scale_um: Float3 | None,
    channel_names: Sequence[str] = (),
    name: str = "",
) -> None:
    """Write planes (y, x) in the order of ``shape``: (t, z, c, y, x) for ImageJ, (t, c, z, y, x) for OME-TIFF."""
    more: dict[str, Any] = {"shape": tuple(shape), "dtype": dtype, "photometric": "minisblack"}
    nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if scale_um is not None:
        more |= {"resolution": (1e4 / scale_um[2], 1e4 / scale_um[1]), "resolutionunit": "CENTIMETER"}
    if is_ome(path):
        metadata: dict[str, Any] = {"axes": "TCZYX", "Name": name}
        if scale_um is not None:
            for axis, size in zip("ZYX", scale_um, strict=True):
                metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "µm"}
        if channel_names:
            metadata["Channel"] = {"Name": list(channel_names)}
        more |= {"ome": True, "compression": "zlib", "bigtiff": nbytes > CLASSIC_BYTES}
    else:
        metadata = {"axes": "TZCYX", "mode": "composite" if shape[2] > 1 else "grayscale"}
        if scale_um is not None:
            metadata |= {"spacing": scale_um[0], "unit": "um"}
            more |= {"resolution": (1 / scale_um[2], 1 / scale_um[1]), "resolutionunit": None}
        if channel_names:
            metadata["Labels"] = list(channel_names) * (shape[0] * shape[1])
        more |= {"imagej": True}
    with writing(path):
        write_atomically(path, lambda file: tifffile.imwrite(file, iter(planes), metadata=metadata, **more))
