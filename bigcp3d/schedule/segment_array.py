"""Segments an array in memory: it goes into a temporary store, and the labels come back as an array.

The plan, the passes and the serial executor are those of `bigcp3d.segment`, so the labels are equal bit for bit to
those of a store that holds the same voxels as its only level.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray

from bigcp3d.edge.image.image import open_labels
from bigcp3d.edge.image.new_image import create_image
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.labels.label_plan import CHUNK
from bigcp3d.errors import InputError
from bigcp3d.option import settings_of, takes
from bigcp3d.pure.boxes import Box, vec3
from bigcp3d.schedule.planning.request import AS_IS, CELLS, IMAGE, METHOD, Request
from bigcp3d.schedule.running.events import Observer
from bigcp3d.schedule.segment import segment

if TYPE_CHECKING:
    from dask.array import Array as DaskArray

OWN = ("scale_um", "mask")
"""Arguments that mean something else for an array than for a store."""

TAKEN = [
    each.name
    for each in settings_of(Request).values()
    if each.name in ("block", "memory_limit")
    or (each.option.panel in (IMAGE, CELLS, METHOD) and each.name not in ("level", "time", "maps", "start", *OWN))
]
"""The other arguments of `bigcp3d.segment` that have a meaning for an array."""


@takes(Request, TAKEN)
def segment_array(
    image: NDArray[Any] | DaskArray,
    *,
    scale_um: tuple[float, float, float] | None = None,
    mask: NDArray[Any] | DaskArray | None = None,
    on_event: Observer | None = None,
    **arguments: Any,
) -> NDArray[np.unsignedinteger[Any]]:
    """Segment an array, without a store and without a cluster.

    Parameters
    ----------
    image : array of numbers, shape (z, y, x) or (c, z, y, x)
        A numpy or Dask array, or anything else with a shape and a dtype that can be sliced, such as a zarr array.
    scale_um : tuple of float, optional
        Voxel size (z, y, x) in micrometres. Default: voxels are cubes of 1.
    mask : array of bool or numbers, shape (z, y, x), optional
        Look for cells only where this is above 0.
    **arguments
    on_event : callable, optional
        Receives the events of `bigcp3d.schedule.running.events` during the run.

    Returns
    -------
    labels : ndarray of uint32, shape (z, y, x)
        0 is background; cells are 1..n in the raster order of their first voxels. uint64 where there are more than
        2**32 - 1 cells.

    Raises
    ------
    InputError, ModelError
        Before any work starts.

    Notes
    -----
    Equal bit for bit to the labels that `bigcp3d.segment` writes for a store with these voxels as its only level.
    Memory, beside the image: 4 bytes a voxel for the labels, and what `bigcp3d.plan_segmentation` says for a worker
    (about 2 GB). A Dask array is computed in slabs of planes, once. The system's temporary folder (``TMPDIR``) holds
    the image and up to 11 bytes a voxel meanwhile, compressed. Torch uses one thread for each patch, on all cores.

    Examples
    --------
    >>> import numpy as np
    >>> z, y, x = np.indices((24, 40, 40)) % 20 - 9.5
    >>> image = (1000 * np.exp(-(z**2 + y**2 + x**2) / 40)).astype("uint16")
    >>> labels = bigcp3d.segment_array(image, model="nuclei", scale_um=(1.0, 1.0, 1.0), diameter_um=12.0)
    >>> labels.shape, labels.dtype.name
    ((24, 40, 40), 'uint32')
    """
    _check(image, mask, scale_um, arguments)
    with TemporaryDirectory(prefix="bigcp3d-") as folder:
        _write(Path(folder) / "image.zarr", image, scale_um)
        if mask is not None:
            _write(Path(folder) / "mask.zarr", mask, scale_um)
            arguments["mask"] = Path(folder) / "mask.zarr"
        labels = Path(folder) / "labels.zarr"
        segment(Path(folder) / "image.zarr", output=labels, executor="serial", on_event=on_event, **arguments)
        return _read(labels)


def _check(image: Any, mask: Any, scale_um: Any, arguments: dict[str, Any]) -> None:
    """Refuse what is no image, and arguments that only stores have."""
    if unknown := sorted(set(arguments) - set(TAKEN)):
        raise InputError(
            f"segment_array takes no {', '.join(unknown)}; it takes {', '.join([*OWN, *TAKEN])}. "
            "For all else write the image to a store, and use bigcp3d.segment"
        )
    shape, dtype = getattr(image, "shape", None), getattr(image, "dtype", None)
    if shape is None or dtype is None or np.dtype(dtype).kind not in "iuf" or len(shape) not in (3, 4) or 0 in shape:
        raise InputError(
            f"the image is {type(image).__name__} of shape {shape} and dtype {dtype}; give an array of integers or "
            "floating point numbers, (z, y, x) or (c, z, y, x), with at least one voxel"
        )
    if mask is not None and (tuple(mask.shape) != tuple(shape[-3:]) or np.dtype(mask.dtype).kind not in "biuf"):
        raise InputError(
            f"the mask is {mask.dtype} of shape {tuple(mask.shape)}; give numbers or bool of the shape "
            f"{tuple(shape[-3:])} (z, y, x), as the image has"
        )
    if arguments.get("diameter_um") not in (None, AS_IS) and scale_um is None:
        raise InputError("diameter_um is in micrometres; also give scale_um, the voxel size (z, y, x), or diameter_vox")


def _write(path: Path, array: Any, scale_um: tuple[float, float, float] | None) -> None:
    """Write an array as an image of one level, a slab of planes at a time."""
    kind = np.dtype(array.dtype)
    name = "uint8" if kind.kind == "b" else kind.newbyteorder("=").name
    channels, shape = (array.shape[0], vec3(array.shape[1:])) if array.ndim == 4 else (1, vec3(array.shape))
    chunk = vec3(min(side, CHUNK) for side in shape)
    info = create_image(path, shape, name, scale_um=scale_um, channels=channels, chunk=chunk, shard=chunk)
    stored = zarr.open_array(path / info.levels[0].path, mode="r+")
    for channel in range(channels):
        part = array[channel] if array.ndim == 4 else array
        into = (channel,) if channels > 1 else ()
        for slab in _slabs(part):
            stored[(*into, slab)] = np.asarray(part[slab])


def _slabs(array: Any) -> Iterator[slice]:
    """Slabs of planes: rows of chunks of a Dask array, so that each chunk is computed once; else a chunk thick."""
    thick = array.chunks[0] if hasattr(array, "dask") else [CHUNK] * -(-array.shape[0] // CHUNK)
    for start, stop in pairwise([0, *accumulate(thick)]):
        yield slice(start, stop)


def _read(path: Path) -> NDArray[np.unsignedinteger[Any]]:
    """All voxels of the labels."""
    info = open_labels(path, Request.name)
    return read_box(info, 0, Box.of_shape(info.levels[0].shape))
