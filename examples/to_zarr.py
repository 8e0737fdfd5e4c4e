"""TIFF, HDF5 and N5 to OME-Zarr, slab by slab, so that the volume need not fit in memory.

    python examples/to_zarr.py IN.tif      OUT.zarr Z Y X          one stack; Z Y X: voxel size in micrometres
    python examples/to_zarr.py FOLDER      OUT.zarr Z Y X          planes as TIFF files, in the order of their names
    python examples/to_zarr.py IN.h5       OUT.zarr Z Y X /raw     a data set of an HDF5 file (pip install h5py)
    python examples/to_zarr.py IN.ims      OUT.zarr Z Y X "DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data"
    python examples/to_zarr.py IN.n5       OUT.zarr Z Y X s0       a data set of an N5 (pip install tensorstore)

This is for one channel and time point. CZI, LIF, ND2 and about 150 more: bioformats2raw (Java), which keeps channels,
times and the scale: ``bioformats2raw IN.czi OUT.zarr``; then segment OUT.zarr/0. ngff-zarr takes plain TIFF stacks for
2D (its 0.50 drops an axis that the file does not name z).

Whichever you take, look at the scale with ``bigcp3d info OUT.zarr``: files often carry none, or a wrong one.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.pure.boxes import Box

CHUNK = (32, 128, 128)

Slabs = tuple[tuple[int, int, int], str, Callable[[int, int], np.ndarray]]
"""Shape, dtype, and a function that reads planes [start, stop)."""


def read_tiff(path: Path) -> Slabs:
    """One stack. The file stays open until the script ends."""
    series = tifffile.TiffFile(path).series[0]
    if len(series.shape) != 3:
        sys.exit(f"{path} has axes {series.axes} and shape {series.shape}; this script takes z, y, x alone")
    return series.shape, series.dtype.name, lambda a, b: np.stack([series.pages[z].asarray() for z in range(a, b)])


def read_folder(path: Path) -> Slabs:
    """A plane a file; numbers in names count as numbers, so that 10 follows 9."""
    files = [f for f in path.iterdir() if f.suffix.lower() in (".tif", ".tiff")]
    files.sort(key=lambda f: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", f.name)])
    first = tifffile.imread(files[0])
    if first.ndim != 2:
        sys.exit(
            f"{files[0]} has shape {first.shape}; this script takes one plane a file; convert each stack by itself"
        )
    read = lambda a, b: np.stack([tifffile.imread(f) for f in files[a:b]])  # noqa: E731
    return (len(files), *first.shape), first.dtype.name, read


def read_hdf5(path: Path, inside: str | None) -> Slabs:
    """A data set; the file stays open until the script ends."""
    import h5py

    file = h5py.File(path, "r")
    if inside is None or inside not in file:
        names: list[str] = []
        file.visititems(lambda name, node: names.append(name) if getattr(node, "ndim", 0) == 3 else None)
        sys.exit(f"{path} holds these volumes, name one: {', '.join(names) or 'none'}")
    data = file[inside]
    return data.shape, data.dtype.name, lambda a, b: data[a:b]


def read_n5(path: Path, inside: str | None) -> Slabs:
    """A data set; N5 names axes x, y, z."""
    import tensorstore

    store = tensorstore.open({"driver": "n5", "kvstore": f"file://{(path / (inside or '')).resolve()}"}).result()
    shape = tuple(reversed(store.shape))
    return shape, store.dtype.name, lambda a, b: np.asarray(store[..., a:b].read().result()).T


def main(source: Path, target: Path, scale_um: tuple[float, float, float], inside: str | None) -> None:
    if source.suffix.lower() in (".h5", ".hdf5", ".ims"):
        shape, dtype, read = read_hdf5(source, inside)
    elif source.suffix.lower() == ".n5" or (source / "attributes.json").exists():
        shape, dtype, read = read_n5(source, inside)
    else:
        shape, dtype, read = read_folder(source) if source.is_dir() else read_tiff(source)
    depth, height, width = shape
    chunk = tuple(min(c, s) for c, s in zip(CHUNK, shape, strict=True))
    image = create_image(target, shape, dtype, scale_um=scale_um, chunk=chunk, shard=chunk)
    for start in range(0, depth, chunk[0]):
        stop = min(start + chunk[0], depth)
        write_image_box(image, Box((start, 0, 0), (stop, height, width)), read(start, stop))
    print(f"{target}: {depth} x {height} x {width} voxels of {scale_um} um")


if __name__ == "__main__":
    if len(sys.argv) not in (6, 7):
        sys.exit(__doc__)
    more = sys.argv[6] if len(sys.argv) == 7 else None
    main(Path(sys.argv[1]), Path(sys.argv[2]), tuple(float(value) for value in sys.argv[3:6]), more)
