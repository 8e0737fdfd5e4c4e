"""Train the shipped models again.

    python examples/train_shipped_models.py nuclei --data ../shared/data --out nuclei.safetensors
    python examples/train_shipped_models.py membrane --data ../shared/data --out membrane.safetensors

Needs the volumes of ../shared/data (sources and licences: its README). Held out: nuclei, the embryos emb01 and emb09
(all their time points); membrane, the last third of x of every volume. Two or three stages, whose networks and learning
curves stay beside ``--out``; with ``--resume`` the same command goes on where it stopped. The last network is kept,
not the best on what was held out, which is for scores alone.
The weights are written in float16, which halves the file; they are used in float32.
"""

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import bigcp3d
from bigcp3d.edge.models.model_families import load_network
from bigcp3d.edge.models.model_files import save_model

TRAINED_ON = {
    "nuclei": "BBBC050 mouse embryo nuclei (Tokuoka et al. 2020, CC BY 3.0), embryos 02, 04 to 08 and 11; simulated "
    "nuclei",
    "membrane": "simulated tissue; walls painted around simulated cells and around the cells of an Arabidopsis ovule "
    "(wolny/pytorch-3dunet, MIT); confocal ovule (kreshuklab/plant-seg, MIT) and light-sheet lateral root "
    "(wolny/pytorch-3dunet, MIT); of each volume the first two thirds of x",
}
NETWORK = {"architecture": "half", "features": 32, "depth": 4}
BATCHES = {"patch": (64, 64, 64), "batch": 2}

MIN_FOREGROUND = {"nuclei": 0.0, "membrane": 0.88}
"""Dark hollows between cells look like cells without light; the network calls them cells with less than full voice."""


@dataclass(frozen=True)
class Stage:
    """A part of a training; each goes on from the network of the one before."""

    steps: int
    lr: float
    shares: tuple[float, float, float, float]
    balance: float = 0.0


REAL, WALLS = (0.22, 0.36, 0.36, 0.06), (0.2, 0.36, 0.38, 0.06)
STAGES = {
    "nuclei": (Stage(5000, 2e-3, (0.6, 0, 0.34, 0.06)), Stage(1000, 1e-3, (0.75, 0, 0.2, 0.05))),
    "membrane": (Stage(5000, 2e-3, REAL), Stage(2000, 1.5e-3, REAL), Stage(11_000, 1.5e-3, WALLS, balance=0.5)),
}


def train_nuclei(data: Path, out: Path, stage: Stage, **options: Any) -> None:
    """Nuclei of 14 voxels: mouse embryos and simulated nuclei."""
    held_out = ("emb01", "emb09")
    volumes = sorted((data / "nuclei").glob("emb*.zarr"))
    bigcp3d.train(
        [v for v in volumes if not v.name.startswith(held_out)],
        out,
        validation=[v for v in volumes if v.name.startswith(held_out)],
        simulate="nuclei",
        shares=stage.shares,
        balance=stage.balance,
        diameter_vox=14.0,
        tanh_scale_vox=2.8,
        percentiles=(1.0, 99.5),
        description=TRAINED_ON["nuclei"],
        **options,
    )


def train_membrane(data: Path, out: Path, stage: Stage, **options: Any) -> None:
    """Cells of 20 voxels with stained membranes: simulated, painted around true shapes, and two plant volumes."""
    folder = data / "membrane"
    ovule, root = str(folder / "ovule.zarr"), str(folder / "root.zarr")
    bigcp3d.train(
        [ovule, root],
        out,
        painted=[str(folder / "ovule_shapes.zarr")],
        holdout_x=1 / 3,
        diameter_um={ovule: 6.0, root: 7.5},  # nearly all cells are cut, so that their own volumes say too little
        simulate="membrane",
        shares=stage.shares,
        balance=stage.balance,
        diameter_vox=20.0,
        tanh_scale_vox=4.0,
        percentiles=(1.0, 99.0),
        description=TRAINED_ON["membrane"],
        **options,
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=("nuclei", "membrane"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, help="of each stage, for a try; default: as the shipped model")
    parser.add_argument("--threads", type=int, default=1, help="more only where the processor is idle")
    parser.add_argument("--every", type=int, default=250)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint beside --out")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    learn = train_nuclei if arguments.model == "nuclei" else train_membrane
    start: Path | None = None
    for number, stage in enumerate(STAGES[arguments.model], 1):
        out = arguments.out.with_suffix(f".stage{number}.safetensors")
        if not (arguments.resume and out.exists()):
            learn(
                arguments.data,
                out,
                stage,
                start=start,
                name=arguments.model,
                steps=arguments.steps or stage.steps,
                learning_rate=stage.lr,
                every=arguments.every,
                keep="last",
                resume=arguments.resume,
                **NETWORK,
                **BATCHES,
            )
        start = out
    network, card = load_network(start)
    command = (
        f"examples/train_shipped_models.py {arguments.model} --data ../shared/data --out {arguments.model}.safetensors"
    )
    changed = {"command": command, "min_foreground": MIN_FOREGROUND[arguments.model]}
    save_model(arguments.out, network.half(), card.model_copy(update=changed))


if __name__ == "__main__":
    main()
