"""Exp2: Cellpose's 2D network, trained from scratch on slices, in Cellpose's own 3D mode; and reconstructed by bigcp3d.

    python examples/paper/exp2.py --data ../shared/data --split membrane --out results

Slices are cut across z, y and x out of the volumes on which Exp3 and Exp4 train (``--axes z`` for xy slices alone).
"""

import argparse

from cellpose2d import segment_by_bigcp3d, segment_in_3d, train_from_scratch
from experiment import Experiment
from experiment import main as run


def add_options(parser: argparse.ArgumentParser) -> None:
    """Of Cellpose's training."""
    parser.add_argument("--axes", default="zyx", choices=("z", "zyx"), help="across which slices are cut")
    parser.add_argument("--bsize", type=int, default=128, help="side of a training crop and of a tile, in pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=0.005, help="Cellpose's default")


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    rows = {"exp2": segment_in_3d, "exp2_ours": segment_by_bigcp3d}
    run(Experiment("exp2", train_from_scratch, rows, add_options), __doc__ or "", argv)


if __name__ == "__main__":
    main()
