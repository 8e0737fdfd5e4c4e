"""A TIFF stack to OME-Zarr, plane by plane, so that the stack need not fit in memory.

    python examples/tiff_to_zarr.py STACK.tif OUT.zarr Z Y X        (voxel size in micrometres)

This is for a plain stack of one channel. For anything else there are good converters, named here and not tested by us:

    ngff-zarr -i STACK.tif -o OUT.zarr          pip install "ngff-zarr[cli]"; TIFF and what ITK reads, writes a pyramid
    bioformats2raw IN.czi OUT.zarr              Java; CZI, LIF, ND2 and about 150 more. Then segment OUT.zarr/0

Whichever you take, look at the scale with ``bigcp3d info OUT.zarr``: files often carry none, or a wrong one.
"""

import sys
from pathlib import Path

import numpy as np
import tifffile

from bigcp3d.edge.labels import create_image, write_image_box
from bigcp3d.pure.boxes import Box

CHUNK = (32, 128, 128)


def main(source: Path, target: Path, scale_um: tuple[float, float, float]) -> None:
    with tifffile.TiffFile(source) as file:
        series = file.series[0]
        if len(series.shape) != 3:
            sys.exit(f"{source} has axes {series.axes} and shape {series.shape}; this script takes z, y, x alone")
        depth, height, width = series.shape
        chunk = tuple(min(c, s) for c, s in zip(CHUNK, series.shape, strict=True))
        image = create_image(target, series.shape, series.dtype.name, scale_um=scale_um, chunk=chunk, shard=chunk)
        for start in range(0, depth, chunk[0]):
            stop = min(start + chunk[0], depth)
            slab = np.stack([series.pages[z].asarray() for z in range(start, stop)])
            write_image_box(image, Box((start, 0, 0), (stop, height, width)), slab)
    print(f"{target}: {depth} x {height} x {width} voxels of {scale_um} um")


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), tuple(float(value) for value in sys.argv[3:6]))
