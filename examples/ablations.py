"""What helps a network to generalise: train it without real shapes, without varied looks, without varied sizes.

    python examples/ablations.py --data ../shared/data --steps 600 --out ablations

Each network begins with the same random weights, and sees as many samples. None sees an image of a real cell: "real
shapes" are true labels, around which membranes are painted. So all of the ovule and the root can be scored. The table
``table.md`` has a row for each network and test, as `benchmark_models.py` writes it.
"""

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import benchmark_models
import torch
from benchmark_models import Result, list_tests, segment_and_score, write_tables
from train_shipped_models import BATCHES, NETWORK, SHAPES

import bigcp3d
from bigcp3d.pure.learn import augment
from bigcp3d.work.train import samples

ONE_SIZE = [(samples, "SCALE_JITTER", ((1.0, 1.0), (1.0, 1.0))), (samples, "MIXED", 0.0)]
PLAIN_LOOKS = [(samples, "RENDERED", 1.0), (augment, "SAME", 1.0)]
"""Images as `bigcp3d simulate` writes them; of the camera and the optics, only the contrast varies."""

NETWORKS: dict[str, tuple[bool, list[tuple[ModuleType, str, Any]]]] = {
    "all": (True, []),
    "one_size": (True, ONE_SIZE),
    "no_real_shapes": (False, []),
    "no_real_shapes_plain_looks": (False, PLAIN_LOOKS),
}
"""For each network: whether it sees real shapes, and the settings that differ."""


@contextmanager
def changed(settings: list[tuple[ModuleType, str, Any]]) -> Iterator[None]:
    """Change constants of modules for a while."""
    before = [getattr(module, name) for module, name, _ in settings]
    try:
        for module, name, value in settings:
            setattr(module, name, value)
        yield
    finally:
        for (module, name, _), value in zip(settings, before, strict=True):
            setattr(module, name, value)


def train(name: str, data: Path, output: Path, steps: int) -> None:
    """Train one of the networks."""
    shapes, settings = NETWORKS[name]
    with changed(settings):
        bigcp3d.train(
            [],
            output,
            painted=[data / "membrane" / f"{volume}.zarr" for volume in SHAPES] if shapes else [],
            simulate="membrane",
            shares=(0.0, 0.45, 0.5, 0.05) if shapes else (0.0, 0.0, 0.95, 0.05),
            balance=0.5,
            diameter_vox=20.0,
            tanh_scale_vox=4.0,
            percentiles=(1.0, 99.0),
            description="ablation",
            steps=steps,
            every=steps,
            keep="last",
            overwrite=True,
            **{**NETWORK, **BATCHES, "repeat": 1},
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("ablations"))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--only", nargs="*", choices=tuple(NETWORKS), default=tuple(NETWORKS))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    benchmark_models.HELD_OUT, benchmark_models.LEARNED = {}, ()  # no network here has learned from a real image
    results: dict[str, list[Result]] = {}
    for name in arguments.only:
        model = arguments.out / f"{name}.safetensors"
        if not model.exists():
            train(name, arguments.data, model, arguments.steps)
        folder = arguments.out / name
        folder.mkdir(exist_ok=True)
        tests = list_tests("membrane", arguments.data, "*", whole=False)
        results[name] = [segment_and_score(t, t.told[0], str(model), folder, whole=False) for t in tests]
    print(write_tables(results, arguments.out))


if __name__ == "__main__":
    main()
