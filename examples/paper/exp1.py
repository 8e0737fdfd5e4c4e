"""Exp1: a pretrained 2D Cellpose model in Cellpose's own 3D mode; and reconstructed by bigcp3d.

    python examples/paper/exp1.py --data ../shared/data --split membrane --out results --weights cyto3

``--weights`` is a weight file of cellpose 3, or the name of a model that Cellpose fetches. Without weights the report
says that the numbers of Exp1 are missing.
"""

import argparse

from cellpose2d import import_models, open_model, segment_by_bigcp3d, segment_in_3d
from experiment import Experiment, Job, Missing, Training
from experiment import main as run


def add_options(parser: argparse.ArgumentParser) -> None:
    """Of the pretrained model."""
    parser.add_argument("--weights", help="file or name, such as cyto3 or nuclei; none: recorded as missing")
    parser.add_argument("--bsize", type=int, default=224, help="side of a tile, in pixels")


def open_weights(job: Job) -> Training:
    """No training: only look whether the weights are there."""
    weights = job.arguments.weights
    if not weights:
        raise Missing("no weights were given (--weights)")
    model = open_model(import_models(), weights)
    return Training(weights, parameters=sum(p.numel() for p in model.net.parameters()), note=f"weights: {weights}")


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    rows = {"exp1": segment_in_3d, "exp1_ours": segment_by_bigcp3d}
    run(Experiment("exp1", open_weights, rows, add_options), __doc__ or "", argv)


if __name__ == "__main__":
    main()
