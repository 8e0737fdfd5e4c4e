"""What is trained on and what is tested: three splits, and a tiny one for tests.

Every experiment of a fold sees the same training volumes, on the same grid: isotropic, with cells of the split's
diameter (`material.py` makes them once). Test volumes stay as they are, at their own resolution. No experiment sees a
test volume, or the tests' scores, before it is scored on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from bigcp3d import InputError, Tissue
from bigcp3d.edge.image.image import open_image


@dataclass(frozen=True)
class Volume:
    """An OME-Zarr image with ``labels/truth``.

    Attributes
    ----------
    name : str
    path : Path
    diameter_um : float
        Expected diameter of its cells, in units of its scale; known before segmentation, as by a user.
    crumbs_vox : int
        Labels with fewer voxels are noise of the annotation. Scores ignore them. Exp2 learns them as background; Exp3
        and Exp4 learn nothing from their voxels.
    weight : int
        How often it counts among the training volumes.
    """

    name: str
    path: Path
    diameter_um: float
    crumbs_vox: int = 0
    weight: int = 1


@dataclass(frozen=True)
class Painting:
    """A volume with membranes painted around given cells; another seed, another stain and microscope."""

    name: str
    labels: Path
    diameter_um: float
    seed: int
    weight: int = 1


@dataclass(frozen=True)
class Simulation:
    """A volume of simulated tissue."""

    name: str
    tissue: Tissue
    weight: int = 1


Item = Volume | Painting | Simulation


@dataclass(frozen=True)
class Fold:
    """Training volumes, and volumes that no training sees."""

    name: str
    train: tuple[Item, ...]
    test: tuple[Volume | Simulation, ...]


@dataclass(frozen=True)
class Split:
    """Folds of one kind of cell.

    Attributes
    ----------
    name, title : str
    diameter_vox : float
        Of a cell on the grid on which all experiments train.
    percentiles : tuple of float
        Intensities of a volume that become 0 and 1 in training.
    folds : tuple of Fold
    note : str
        What a reader of the numbers must know.
    """

    name: str
    title: str
    diameter_vox: float
    percentiles: tuple[float, float]
    folds: tuple[Fold, ...]
    note: str


NAMES = ("membrane", "nuclei", "simulated")
PAINTINGS = 6
HARD = Tissue((96, 160, 160), 20.0, blur_vox=(2.0, 1.5, 1.5), noise=0.14, inside=0.3, staining=0.5, uneven=0.6)
"""Noise and blur are at least those of the root volume, as `hardness.py` measures them."""


def membrane(data: Path) -> Split:
    """Leave one volume out, of two real ones; painted membranes are in every training set."""
    folder = data / "membrane"
    volumes = (
        Volume("ovule", folder / "ovule.zarr", 6.0, weight=2),  # nearly all cells are cut: their volumes say too little
        Volume("root", folder / "root.zarr", 7.5, weight=2),
    )
    shapes = folder / "ovule_shapes.zarr"
    painted = tuple(Painting(f"painted{seed}", shapes, 41.35, seed) for seed in range(PAINTINGS))
    folds = tuple(
        Fold(held.name, (*(v for v in volumes if v != held), *painted), (held,)) for held in volumes
    )  # fmt: skip
    note = (
        "Each of the two real volumes is held out once: the networks learn from the other one (a quarter of the "
        "samples), and from membranes painted around the cells of ovule_shapes. These cells are from an ovule too. So "
        "only the fold that holds out the root tests a new organ. The borders of the volumes cut nearly all true cells."
    )
    return Split("membrane", "real membranes", 20.0, (1.0, 99.0), folds, note)


def nuclei(data: Path) -> Split:
    """Two whole embryos held out."""
    paths = sorted((data / "nuclei").glob("emb*.zarr"))
    volumes = [Volume(p.stem, p, 15.0, crumbs_vox=50) for p in paths]
    held = ("emb01", "emb09")
    train = tuple(v for v in volumes if not v.name.startswith(held))
    test = tuple(v for v in volumes if v.name.startswith(held))
    note = "Two whole embryos, emb01 and emb09, are held out. Labels under 50 voxels are errors of the annotation."
    return Split("nuclei", "nuclei of mouse embryos", 14.0, (1.0, 99.5), (Fold("embryos", train, test),), note)


def simulated(data: Path) -> Split:
    """Simulated tissue held out by seed."""
    train = tuple(Simulation(f"tissue{s}", replace(HARD, seed=s)) for s in range(6))
    test = tuple(Simulation(f"tissue{s}", replace(HARD, seed=s)) for s in (100, 101))
    note = (
        "Simulated membranes. The tissues for the test were simulated with other seeds. They have at least the noise "
        "and blur of the real root."
    )
    return Split("simulated", "simulated membranes", 20.0, (1.0, 99.0), (Fold("seeds", train, test),), note)


def quick(data: Path) -> Split:
    """So small that a test can run all of it; its numbers mean nothing."""
    tissue = Tissue((24, 48, 48), 12.0, noise=0.05, empty=0.0)
    train = (Simulation("tissue0", tissue),)
    test = (Simulation("tissue1", replace(tissue, shape=(20, 40, 40), seed=1)),)
    return Split("quick", "a tiny simulation", 12.0, (1.0, 99.0), (Fold("tiny", train, test),), "A test run.")


def ball_vox(source: Path | Tissue, diameter_um: float = 0.0) -> float:
    """Voxels of an image, or of a tissue, in a ball of the diameter that is expected (a tissue knows its own)."""
    if isinstance(source, Tissue):
        return math.pi / 6 * math.prod(source.diameter)
    return math.pi / 6 * diameter_um**3 / math.prod(open_image(source).levels[0].scale_um or (1.0, 1.0, 1.0))


def open_split(name: str, data: Path) -> Split:
    """The split of a name; `InputError` where its volumes are not there."""
    made = {"membrane": membrane, "nuclei": nuclei, "simulated": simulated, "quick": quick}[name](data)
    for item in (i for fold in made.folds for i in (*fold.train, *fold.test)):
        path = item.path if isinstance(item, Volume) else item.labels if isinstance(item, Painting) else None
        if path is not None and not path.is_dir():
            raise InputError(f"{path}: found no such volume; split {name} needs it: give its folder with --data")
    if not all(fold.train and fold.test for fold in made.folds):
        raise InputError(f"{data}: found no volumes of split {name} there; give the folder of the volumes with --data")
    return made
