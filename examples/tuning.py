"""Choose thresholds and filters: the network runs once, and each try after it takes a fraction of the time.

    python examples/tuning.py IMAGE.zarr DIAMETER_UM [TRUTH]

TRUTH is the name of true labels in IMAGE.zarr, if you have any. Even ten cells in a corner tell more than a look at the
labels. Without it, compare the tries in ``bigcp3d view IMAGE.zarr --name try_0.3_50``. Tune a large volume on a region.
This command tries all combinations there and draws each; it writes no labels:

    bigcp3d sweep IMAGE.zarr --diameter 8 --roi 0:64,0:256,0:256 --foreground 0.3,0.5,0.7 --min-volume 50,200
"""

import sys
from itertools import product

import bigcp3d

FOREGROUND = (0.3, 0.5, 0.7)  # how sure the network must be of a voxel: lower gives larger and more cells
MIN_VOLUME = (50, 200)  # voxels of the image; smaller cells are removed


def main(image: str, diameter_um: float, truth: str | None = None) -> None:
    same = {"diameter_um": diameter_um, "executor": "serial"}  # without it, larger volumes go to worker processes

    # The maps stay in a folder beside the image, and each later run finds them.
    first = bigcp3d.segment(image, name="first", keep_maps=True, **same)
    print(f"predicted once: {first.seconds:.1f} s, {first.cells} cells")

    for foreground, smallest in product(FOREGROUND, MIN_VOLUME):
        name = f"try_{foreground}_{smallest}"
        # start="maps" refuses to predict: should a setting ask for other maps, you are told instead of waiting.
        tried = bigcp3d.segment(
            image, name=name, foreground=foreground, min_volume=smallest, start="maps", overwrite=True, **same
        )
        line = f"{name}: {tried.cells} cells, {tried.seconds:.1f} s, removed {tried.removed}"
        if truth is not None:
            score = bigcp3d.evaluate(image, image, pred_name=name, truth_name=truth)
            line += f", mean Dice {score['mean_dice']:.3f}, AP at IoU 0.5 {score['ap50']:.3f}"
        print(line)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(sys.argv[1], float(sys.argv[2]), *sys.argv[3:])
