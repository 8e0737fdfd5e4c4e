"""What do true maps give? Those of the test volumes, through the same tracking and grouping as predicted ones.

    python examples/paper/bound.py --data ../shared/data

Maps are made of the truth on the grid on which the networks see a volume, and rounded as predicted ones are; the labels
are scored at the volume's own resolution, as those of the experiments. What is lost here is not the network's fault:
pieces that a border leaves thinner than a voxel of the grid, and cells so bent that the straight way to their centre
leaves them.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from material import grid_factors, prepare_test, read_resampled, read_whole
from report import LARGE, ball_of
from splits import NAMES, Split, open_split

from bigcp3d import label_maps
from bigcp3d.edge.image.image import open_labels
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.grid import spread_labels
from bigcp3d.pure.learn.targets import heat_flow, tanh_flow
from bigcp3d.pure.predict.float_maps import quantise_maps
from bigcp3d.pure.score.metrics import score_overlaps
from bigcp3d.pure.score.overlaps import count_overlaps


def score_truth(split: Split, folder: Path) -> dict[tuple[str, str], tuple[float, float, float]]:
    """By volume and representation: mean Dice of all cells and of the large ones, and AP at an IoU of a half."""
    scores = {}
    for item in dict.fromkeys(item for fold in split.folds for item in fold.test):
        volume = prepare_test(item, folder)
        labels = open_labels(volume.path, "truth")
        level, truth = labels.levels[0], read_whole(labels).astype(np.uint32)
        _, coarse = read_resampled(None, labels, volume.diameter_um, split.diameter_vox)
        factors = grid_factors(level.scale_um, volume.diameter_um, split.diameter_vox)
        whole, grid = Box.of_shape(level.shape), Box.of_shape(coarse.shape)
        large_vox = math.ceil(LARGE * ball_of(item))
        for name, flow in (("heat", heat_flow(coarse)), ("tanh", tanh_flow(coarse, split.diameter_vox / 5))):
            maps = quantise_maps(np.concatenate([(coarse > 0)[None].astype(np.float32), flow]))
            found = label_maps(maps, split.diameter_vox / 2)
            overlaps = count_overlaps(spread_labels(found, grid, whole, factors, grid.shape), truth)
            every, large = (score_overlaps(overlaps, min_truth_vox=vox) for vox in (volume.crumbs_vox, large_vox))
            scores[item.name, name] = (every["mean_dice"] or 0.0, large["mean_dice"] or 0.0, every["ap50"] or 0.0)
    return scores


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the real volumes")
    parser.add_argument("--out", type=Path, default=Path("results"), help="where simulated volumes are made")
    parser.add_argument("--split", choices=(*NAMES, "quick"), action="append", help="default: all")
    arguments = parser.parse_args(argv)
    print("| volume | true flows | mean Dice | mean Dice, large ones | AP50 |\n| --- | --- | --- | --- | --- |")
    for name in arguments.split or NAMES:
        folder = arguments.out / name / "truth"
        folder.mkdir(parents=True, exist_ok=True)
        for (volume, kind), numbers in score_truth(open_split(name, arguments.data), folder).items():
            print(f"| {volume} | {kind} | {' | '.join(f'{value:.3f}' for value in numbers)} |", flush=True)


if __name__ == "__main__":
    main()
