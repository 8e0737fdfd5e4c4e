"""Turn flows that Cellpose predicted elsewhere into maps, and the maps into labels, at any size.

    python examples/maps_from_cellpose.py IMAGE.zarr DP.npy CELLPROB.npy MAPS.zarr RADIUS

DP (3, Z, Y, X) and CELLPROB (Z, Y, X) are what Cellpose 3 or 4 returns, both on the image's own voxels:

    masks, flows, styles = model.eval(image, do_3D=True, z_axis=0, compute_masks=False)
    np.save("DP.npy", flows[1]); np.save("CELLPROB.npy", flows[2])

RADIUS is the expected radius of a cell in voxels. For another tool, change ``to_maps``. It returns the foreground,
0 to 1, and the flow z, y, x in voxels per step. The flow must point to the cell's centre: reverse the sign of flows
that point away. If Cellpose is installed, ``bigcp3d segment --model cellpose:NAME`` does all of this by itself.
"""

import sys
from pathlib import Path

import numpy as np
import zarr
from scipy.special import expit

import bigcp3d

SLAB = 32


def to_maps(flow: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """Cellpose adds up its three orientations: two planes, with flows of length 5, for an axis; three logits."""
    return np.concatenate([expit(logit / 3)[None], flow / 10]).astype(np.float32)


def main(image: Path, flow_file: Path, logit_file: Path, maps: Path, radius: float) -> None:
    flow, logit = np.load(flow_file, mmap_mode="r"), np.load(logit_file, mmap_mode="r")
    if flow.shape != (3, *logit.shape):
        sys.exit(f"{flow_file} is {flow.shape} and {logit_file} {logit.shape}; needed are (3, Z, Y, X) and (Z, Y, X)")
    shape = (4, *logit.shape)
    chunks = tuple(min(c, s) for c, s in zip((4, SLAB, 128, 128), shape, strict=True))
    array = zarr.create_array(maps, shape=shape, dtype="float32", chunks=chunks)
    for z in range(0, len(logit), SLAB):
        part = slice(z, z + SLAB)
        array[:, part] = to_maps(flow[:, part], logit[part])
    print(bigcp3d.segment(image, maps=maps, radius_vox=radius, name="cells_from_cellpose"))


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*(Path(name) for name in sys.argv[1:5]), float(sys.argv[5]))
