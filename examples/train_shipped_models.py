"""Train the shipped models on, or begin anew.

    python examples/train_shipped_models.py nuclei --data ../shared/data --out training/nuclei/nuclei.safetensors
    python examples/train_shipped_models.py membrane --data ../shared/data --out training/membrane/membrane.safetensors

The same command continues a training that was stopped. Needs the volumes of ../shared/data (sources and licences: its
README). For nuclei, these are held out: the embryos emb01 and emb09 (all time points), and every volume of other
microscopes. For membrane: the last third of x of the ovule, of its shapes and of the root. All cells of the flower
serve only as shapes that are painted.

A training is a list of stages. The first begins with ``--start``, or with random weights. Each of the others begins
with the network of the stage before. Each has new samples. The learning rate falls to 0 in each, so the network at the
end of any stage can be shipped. Stages, learning curves and checkpoints lie beside ``--out``, and samples below
``--cache``. The last network is kept, not the one with the best scores: the held-out data are for scores only. Weights
are written in float16, which halves the file; they are used in float32.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import torch

import bigcp3d
from bigcp3d.edge.models.model_families import load_network
from bigcp3d.edge.models.model_files import save_model

SHAPES = ("flower_p194_t1", "flower_p194_t2", "flower_p194_t4_L1", "ovule_shapes")
TRAINED_ON = {
    "nuclei": "BBBC050 mouse embryo nuclei (Tokuoka et al. 2020, CC BY 3.0), embryos 02, 04 to 08 and 11; simulated "
    "nuclei; nuclei painted into the cells of an Arabidopsis flower (jldinh/vplants, CeCILL-C) and of an Arabidopsis "
    "ovule (wolny/pytorch-3dunet, MIT)",
    "membrane": "simulated tissue; walls painted around simulated cells, around the cells of an Arabidopsis flower "
    "(jldinh/vplants, CeCILL-C) and of an Arabidopsis ovule (wolny/pytorch-3dunet, MIT); confocal ovule "
    "(kreshuklab/plant-seg, MIT) and light-sheet lateral root (wolny/pytorch-3dunet, MIT); of the ovules and the root "
    "the first two thirds of x",
}
NETWORK = {"architecture": "half", "features": 32, "depth": 3}
"""Layout of a network that begins anew."""
BATCHES = {"patch": (80, 80, 80), "batch": 1, "repeat": 2}

MIN_FOREGROUND = {"nuclei": 0.0, "membrane": 0.84}
"""Dark hollows between cells look like cells without light; the network calls them cells with less than full voice."""


def train_nuclei(data: Path, out: Path, **options: Any) -> None:
    """Nuclei of 14 voxels: mouse embryos, simulated nuclei, nuclei painted into cells."""
    held_out = ("emb01", "emb09")
    volumes = sorted((data / "nuclei").glob("emb*.zarr"))
    bigcp3d.train(
        [v for v in volumes if not v.name.startswith(held_out)],
        out,
        validation=[v for v in volumes if v.name.startswith(held_out)],
        painted=[data / "membrane" / f"{name}.zarr" for name in SHAPES],
        simulate="nuclei",
        shares=(0.4, 0.15, 0.4, 0.05),
        balance=0.3,
        diameter_vox=14.0,
        tanh_scale_vox=2.8,
        percentiles=(1.0, 99.5),
        description=TRAINED_ON["nuclei"],
        **options,
    )


def train_membrane(data: Path, out: Path, **options: Any) -> None:
    """Cells of 20 voxels with stained membranes: simulated, painted around true shapes, and two plant volumes."""
    folder = data / "membrane"
    ovule, root = str(folder / "ovule.zarr"), str(folder / "root.zarr")
    shapes = [str(folder / f"{name}.zarr") for name in SHAPES]
    bigcp3d.train(
        [ovule, root],
        out,
        painted=shapes,
        holdout_x=dict.fromkeys((ovule, root, shapes[-1]), 1 / 3),
        diameter_um={ovule: 6.0, root: 7.5},  # nearly all cells are cut, so that their own volumes say too little
        simulate="membrane",
        shares=(0.2, 0.2, 0.56, 0.04),
        balance=0.5,
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
    parser.add_argument("--cache", type=Path, help="folder for samples; default: beside --out")
    parser.add_argument("--cache-gb", type=float, default=2.0, help="most of the disk for samples that were shown")
    parser.add_argument("--start", help="the model to go on from, a name or a file; default: random weights")
    parser.add_argument("--steps", type=int, nargs="+", default=[6_000, 12_000, 24_000], help="of each stage")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate at the start of each stage")
    parser.add_argument("--threads", type=int, default=1, help="more only where the processor is idle")
    parser.add_argument("--workers", type=int, default=0, help="processes that make samples ahead")
    parser.add_argument("--every", type=int, default=500)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    learn = train_nuclei if arguments.model == "nuclei" else train_membrane
    start = arguments.start
    for number, steps in enumerate(arguments.steps, 1):
        out = arguments.out.with_suffix(f".stage{number}.safetensors")
        if not out.exists():
            logging.info("stage %d: %d steps", number, steps)
            learn(
                arguments.data,
                out,
                start=start,
                seed=number,
                name=arguments.model,
                steps=steps,
                learning_rate=arguments.lr,
                every=arguments.every,
                keep="last",
                cache=arguments.cache or arguments.out.parent / "cache",
                cache_gb=arguments.cache_gb,
                workers=arguments.workers,
                resume=True,
                **({} if start else NETWORK),
                **BATCHES,
            )
        asked = ["--start", arguments.start] if arguments.start else []
        asked += ["--steps", *map(str, arguments.steps[:number]), "--lr", f"{arguments.lr:g}"]
        ship(out, arguments.out, arguments.model, " ".join(asked))
        start = str(out)


def ship(stage: Path, out: Path, model: str, asked: str) -> None:
    """Write the network of a stage as the model."""
    network, card = load_network(stage)
    command = f"examples/train_shipped_models.py {model} --data FOLDER --out {out.name} {asked}"
    changed = {"command": command, "min_foreground": MIN_FOREGROUND[model]}
    save_model(out, network.half(), card.model_copy(update=changed))


if __name__ == "__main__":
    main()
