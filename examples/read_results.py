"""Read labels that bigcp3d wrote: how they were made, and the volume of every cell, in little memory.

    python examples/read_results.py IMAGE.zarr [NAME]

bigcp3d need not be installed: labels are plain OME-Zarr, which any tool can read. To compute with Dask:
``dask.array.from_zarr(f"{path}/labels/{name}/0")``. More numbers of each cell: results_in_pandas.py; to look at them:
results_in_napari.py.
"""

import sys

import numpy as np
import zarr


def main(path: str, name: str = "cells") -> None:
    group = zarr.open_group(path, mode="r", use_consolidated=False)[f"labels/{name}"]
    attributes = dict(group.attrs)
    ome = attributes.get("ome", attributes)  # OME-Zarr 0.5 keeps its metadata under "ome", earlier versions do not
    finest = ome["multiscales"][0]["datasets"][0]
    scale = finest["coordinateTransformations"][0]["scale"][-3:]
    labels = group[finest["path"]]
    print(f"{labels.shape} {labels.dtype}, voxel {scale}, chunks {labels.chunks}")

    made = attributes.get("bigcp3d", {})
    for key in ("version", "model", "model_sha256", "cells", "parameters"):
        print(f"{key}: {made.get(key)}")

    # Volumes: one slab of chunks at a time, so the volume need not fit in memory. Ids are dense, 1 to n.
    volumes = np.zeros(1, np.int64)
    leading = (0,) * (labels.ndim - 3)  # the first time point
    for start in range(0, labels.shape[-3], labels.chunks[-3]):
        counts = np.bincount(labels[(*leading, slice(start, start + labels.chunks[-3]))].ravel())
        volumes.resize(max(len(volumes), len(counts)))
        volumes[: len(counts)] += counts
    cells = volumes[1:]
    print(f"{np.count_nonzero(cells)} cells, {volumes[0]} voxels of background")
    if len(cells):
        print(f"median volume {np.median(cells):.0f} voxels, {np.median(cells) * np.prod(scale):.1f} cubic micrometres")
        print(f"largest: cell {np.argmax(cells) + 1} with {cells.max()} voxels")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:3])
