"""Teach a shipped model your stain from a few labelled volumes, and see whether it helped.

    python examples/train_on_own_labels.py [DIR] [--steps 100] [--patch 48 48 48]

Simulated volumes stand in for yours. With your own volumes, leave step 1 out; any OME-Zarr image with labels will do,
as ``PATH::LABELS``. The same from the shell: ``bigcp3d train TRAIN.zarr --start membrane --output mine.safetensors
--steps 100 --holdout-x 0.25``. 100 steps take a minute or two on one core. They raised mean Dice from 0.33 to 0.48, and
AP at IoU 0.5 from 0.06 to 0.49. 12 steps show only that the script runs.

How to judge it
    ``mine.losses.png`` (and .csv) has two halves. If the losses still fall at the right end, give more --steps. The
    scores are Dice and AP of cells in the part that --holdout-x kept for validation. They should rise and then level
    off. If they fall while the training loss still falls, the network learns your volumes by heart: label more of them,
    or stop earlier. The model with the best scores is kept, so its scores there are too good. What counts is step 4,
    which compares it with the model that you began with, on a volume that neither has learned from.
"""

import argparse
from pathlib import Path

import zarr

import bigcp3d
from bigcp3d.face.pictures.learning_curve_picture import try_to_draw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("own_model"))
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--patch", nargs=3, type=int, default=(48, 48, 48), metavar=("Z", "Y", "X"))
    arguments = parser.parse_args()
    learn, judge = (arguments.folder / f"{name}.zarr" for name in ("learn", "judge"))
    model = arguments.folder / "mine.safetensors"

    # 1. Two volumes with labels/truth, of a stain that no shipped model knows: bright cells, dark borders.
    for seed, path in enumerate((learn, judge)):
        bigcp3d.simulate(path, bigcp3d.Tissue((48, 96, 128), 20.0, "membrane", seed=seed))
        voxels = zarr.open_array(path / "0", mode="r+")
        voxels[:] = voxels[:].max() - voxels[:]

    # 2. Train on from the shipped model. The last quarter of x is kept back for the curve, and no step sees it.
    bigcp3d.train(
        [f"{learn}::truth"],
        model,
        start="membrane",
        steps=arguments.steps,
        patch=tuple(arguments.patch),
        diameter_um={f"{learn}::truth": 20.0},  # without it, measured from the cells that no border cuts
        holdout_x=0.25,
        every=max(10, arguments.steps // 6),  # steps between rows of the curve
        on_event=lambda event: try_to_draw(event.curve),
    )
    print(f"the learning curve: {model.with_suffix('.losses.png')}")

    # 3. and 4. Segment the other volume with both models, and compare with its truth.
    for name, used in (("shipped", "membrane"), ("mine", str(model))):
        bigcp3d.segment(judge, model=used, name=name, diameter_um=20.0, executor="serial")
        score = bigcp3d.evaluate(judge, judge, pred_name=name, truth_name="truth")
        print(f"{name}: mean Dice {score['mean_dice']:.3f}, AP at IoU 0.5 {score['ap50']:.3f}")


if __name__ == "__main__":
    main()
