"""From nothing to labels in Python: simulate a tissue, plan, segment on two worker processes, compare with the truth.

    python examples/quick_start.py [DIR] [--shape Z Y X]

With your own data, leave the first step out and give the path of your OME-Zarr image.
"""

import argparse
from pathlib import Path

import bigcp3d

SCALE_UM = (1.0, 0.5, 0.5)  # micrometres per voxel: planes lie further apart than pixels, as in most microscopes
DIAMETER_VOX = 24.0  # of a cell, in voxels of the finest axis


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("quick_start"))
    parser.add_argument("--shape", nargs=3, type=int, default=(32, 128, 128), metavar=("Z", "Y", "X"))
    arguments = parser.parse_args()
    source = arguments.folder / "tissue.zarr"

    # 1. An image, with its truth in labels/truth.
    tissue = bigcp3d.Tissue(
        shape=tuple(arguments.shape), diameter_vox=DIAMETER_VOX, stain="membrane", seed=1, scale=SCALE_UM
    )
    bigcp3d.simulate(source, tissue, scale_um=SCALE_UM)

    # 2. What would be done: blocks, halos, memory, disk. Nothing is written, and bad input is refused here already.
    settings = {"model": "membrane", "diameter_um": DIAMETER_VOX * min(SCALE_UM), "block": (32, 64, 64), "workers": 2}
    print(bigcp3d.describe_plan(bigcp3d.plan_segmentation(source, **settings)))

    # 3. Do it. Blocks and workers change the time it takes and nothing else.
    summary = bigcp3d.segment(source, **settings)
    print(f"{summary.cells} cells in {summary.labels}, {summary.seconds:.0f} s")

    # 4. How good is it?
    for name, value in bigcp3d.evaluate(source, source, pred_name="cells", truth_name="truth").items():
        print(f"{name}: {value}")


if __name__ == "__main__":  # worker processes import this file: without this line each would start its own run
    main()
