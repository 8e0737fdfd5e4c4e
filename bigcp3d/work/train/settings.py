"""The options of `bigcp3d.train`, each once, and checks of their values that need no volume.

Imports nothing heavy, since the command line reads the options from here when it shows its help.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from bigcp3d.errors import InputError
from bigcp3d.option import Option, check_choices
from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.choices import Architecture, Precision, Representation, Stain

DATA = "What to learn from"
MODEL = "The model"
WORK = "The training"

LEAST = {
    **dict.fromkeys(("patience", "workers", "seed", "min_cell_vox", "margin"), 0),
    **dict.fromkeys(("steps", "every", "batch", "repeat"), 1),
    **dict.fromkeys(("features", "depth"), 2),
}
"""The least value of each whole number."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The options of a training; the arguments of `bigcp3d.train`."""

    volumes: Annotated[Sequence[str | Path], Option(metavar="IN.zarr", positional=True, many=True)] = ()
    """OME-Zarr images with labels, each PATH, PATH::LABELS, or PATH::TRUTH.zarr for labels in another store or file."""
    output: Annotated[str | Path, Option(MODEL, "MODEL.safetensors")]
    """The model file to write; the learning curve and a checkpoint lie beside it."""
    labels_name: Annotated[str, Option(DATA)] = "truth"
    """Name of the labels to learn from, in volumes given without ::LABELS."""
    channel: Annotated[int | str | Sequence[int | str] | None, Option(DATA, "N|NAME", many=True)] = None
    """Channel of the volumes: its number, from 0, or its name. If several are given, the model takes all of them, in
    this order; --painted and --simulate are then not allowed. Default: the first channel, or those that the model of
    --start names."""
    diameter_um: Annotated[float | Mapping[str, float] | None, Option(DATA, "UM")] = None
    """Cell diameter in the volumes to learn from. In Python also a dictionary of diameters by volume. Default: measured
    in each volume, from its whole cells. In volumes of --painted and --validation it is always measured."""
    painted: Annotated[Sequence[str | Path], Option(DATA, "IN.zarr", many=True)] = ()
    """Labels from which training images are painted: membranes around the cells, or nuclei inside them with --simulate
    nuclei. May be repeated."""
    from_edits: Annotated[Sequence[str | Path], Option(DATA, "IN.zarr", many=True)] = ()
    """An image with labels that were reviewed (bigcp3d review, bigcp3d edit): PATH, or PATH::LABELS (default: cells).
    Training uses the cells that you called good or that a correction made, the background near them, and places where
    you deleted a cell. May be repeated."""
    simulate: Annotated[Stain | None, Option(DATA)] = None
    """Mix in simulated tissue. With it, volumes may be left out. Then the model is validated on simulated tissue, or on
    the volumes of --validation."""
    shares: Annotated[tuple[float, float, float, float], Option(flag="")] = (0.5, 0.2, 0.25, 0.05)
    """How often a sample comes from the volumes, the painted ones, simulated tissue and noise. Kinds that are not
    given do not count."""
    validation: Annotated[Sequence[str | Path], Option(DATA, "IN.zarr", many=True)] = ()
    """A volume for validation only; nothing is learned from it. May be repeated."""
    holdout_x: Annotated[float | Mapping[str, float], Option(DATA, "0..1")] = 0.0
    """Share of each volume that is kept for validation, cut off at the end of x: 0 to below 1. In Python also a
    dictionary of shares by volume; volumes that are not in it are used for training only."""
    min_cell_vox: Annotated[int, Option(DATA, "VOX")] = 50
    """Cells of fewer voxels are left out: they count neither as cells nor as background."""
    start: Annotated[str | Path | None, Option(MODEL, "NAME|PATH")] = None
    """Start from this model (see: bigcp3d models) and adapt it; a few volumes of yours and a few hundred steps are
    enough. Settings of the network that you leave out are those of this model."""
    name: Annotated[str | None, Option(MODEL)] = None
    """Name of the model. Default: the file's name."""
    description: Annotated[str, Option(MODEL)] = ""
    """Training data and licences, for the card."""
    representation: Annotated[Representation | None, Option(MODEL)] = None
    """How the flow that the network learns is computed from the labels. tanh: from the offset to the cell's centre.
    heat: from simulated heat diffusion, as in Cellpose. Default: tanh."""
    diameter_vox: Annotated[float | None, Option(MODEL, "VOX", "--diameter-voxels")] = None
    """Cell diameter that the network learns, in working voxels. Volumes are resampled to it. Default: 16."""
    tanh_scale_vox: Annotated[float | None, Option(MODEL, "VOX")] = None
    """For --representation tanh, in working voxels: at this distance from the cell's centre along an axis, the flow has
    0.76 of its largest value. Nearer to the centre it is weaker. Default: a fifth of the diameter."""
    architecture: Annotated[Architecture | None, Option(MODEL)] = None
    """eschweiler: the published 3D U-Net of Eschweiler et al. half: a faster one that computes at half the resolution.
    Default: eschweiler."""
    features: Annotated[int | None, Option(MODEL)] = None
    """Feature channels of the first level; each further level has twice as many. Default: 16."""
    depth: Annotated[int | None, Option(MODEL)] = None
    """Number of resolution levels in the network. Default: 4."""
    percentiles: Annotated[tuple[float, float] | None, Option(flag="")] = None
    """Percentiles of the intensities that become 0 and 1."""
    prediction_patch: Annotated[Vec3 | None, Option(flag="")] = None
    """Size of the patches in which the trained model predicts, in working voxels."""
    margin: Annotated[int | None, Option(flag="")] = None
    """Width of the border of such a patch in voxels. Patches overlap by twice this width, and predictions count less
    the nearer they are to the border."""
    balance: Annotated[float, Option(WORK, "0..1")] = 0.0
    """How much small cells, and thin pieces of cells at a border, count in the training. 0: each voxel counts the same.
    1: each cell counts the same (but a voxel of a small cell at most 8 times as much as other voxels). 0.5 is a good
    choice if even the smallest labels are cells."""
    steps: Annotated[int, Option(WORK)] = 2000
    """Number of training steps."""
    patch: Annotated[Vec3, Option(WORK, "Z Y X")] = (48, 64, 64)
    """Size of a training patch in working voxels, in multiples of 2 to the power of --depth. If Y and X are equal,
    samples are also turned by 90 degrees."""
    batch: Annotated[int, Option(WORK)] = 2
    """Number of patches in each step."""
    learning_rate: Annotated[float, Option(WORK)] = 1e-3
    """Learning rate at the start (the optimiser is RAdam)."""
    seed: Annotated[int, Option(WORK)] = 0
    """Seed of the random choices: patches, and weights at the start. The same seed gives the same training."""
    every: Annotated[int, Option(WORK)] = 250
    """Number of steps between validations. A validation segments pieces of the held-out data, adds a row to the
    learning curve and writes a checkpoint."""
    keep: Annotated[Literal["best", "last"], Option(WORK)] = "best"
    """best: keep the model with the best validation (mean of Dice and of AP at IoU 0.5). last: keep the model of the
    last step, which also happens if no data are held out. Scores on the data that chose the model are too good: measure
    on other data."""
    patience: Annotated[int, Option(WORK)] = 0
    """Stop after this many validations in a row without a better score. 0: never stop early."""
    workers: Annotated[int, Option(WORK, "N")] = 0
    """Number of processes that make samples in advance. 0: none. The samples do not depend on it."""
    cache: Annotated[str | Path | None, Option(WORK, "DIR")] = None
    """Folder in which samples are kept, about 0.5 MB each. Another training with the same settings uses them again."""
    cache_gb: Annotated[float, Option(WORK, "GB", "--cache-gb")] = 20.0
    """Used samples in --cache may take this many gigabytes. If they take more, the oldest are removed."""
    repeat: Annotated[int, Option(WORK, "N")] = 1
    """How often each sample is used, turned differently each time. Values above 1 need --cache. 4 saves most of the
    time for making samples."""
    samples_only: Annotated[bool, Option(WORK)] = False
    """Fill the cache with the samples of all steps, and do not train."""
    device: Annotated[str | None, Option(WORK, "cpu|cuda")] = None
    """Where to train: on the processor or on an NVIDIA GPU. Default: cuda if there is one."""
    precision: Annotated[Precision, Option(WORK)] = "auto"
    """Number format of the activations; weights are always float32. auto: bfloat16 if the processor has instructions
    for it."""
    resume: Annotated[bool, Option(WORK)] = False
    """Continue from the checkpoint beside the model, with its options: only --output is needed. The result is the same,
    bit for bit, as without the stop. A larger --steps continues a training that has ended. Options that would change
    steps already done are an error."""
    overwrite: Annotated[bool, Option(WORK)] = False
    """Replace an existing model, and discard its checkpoint."""

    @property
    def holdouts(self) -> tuple[float, ...]:
        """Shares of x that are held out."""
        given = self.holdout_x
        return tuple(given.values()) if isinstance(given, Mapping) else (given,)

    @property
    def has_data(self) -> bool:
        """Whether there is anything to learn from."""
        return bool(self.volumes or self.from_edits or self.painted or self.simulate)

    @property
    def only_simulates(self) -> bool:
        """Whether nothing but simulated tissue is learned from."""
        return bool(self.simulate) and not (self.volumes or self.from_edits or self.painted)

    def check(self) -> None:
        """Refuse values that no volume could make right."""
        check_choices(self)
        if not self.has_data:
            raise InputError(
                "there is nothing to learn from; give volumes with labels, --from-edits, --painted, or --simulate"
            )
        read = (*self.volumes, *self.from_edits, *self.painted)
        _check_names("holdout_x", self.holdout_x, read)
        _check_names("diameter_um", self.diameter_um, (*read, *self.validation))
        if not all(0 <= share < 1 for share in self.holdouts):
            raise InputError(
                f"holdout_x is {self.holdout_x}; give a number from 0 to below 1, the share of each "
                "volume to keep for validation"
            )
        if self.samples_only and self.cache is None:
            raise InputError("--samples-only needs a folder in which to keep the samples; give --cache DIR")
        if self.repeat > 1 and self.cache is None:
            raise InputError(
                f"repeat is {self.repeat}, but samples can only be used again if they are kept; give --cache DIR"
            )
        if not self.cache_gb >= 0:
            raise InputError(f"cache_gb is {self.cache_gb}; give 0 or more")
        if not 0 <= self.balance <= 1:
            raise InputError(f"balance is {self.balance}; give 0 to 1; with 0.5 small cells count more")
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} is {value}; give {least} or more")
        for name in ("diameter_um", "diameter_vox", "tanh_scale_vox"):
            given = getattr(self, name)
            for value in given.values() if isinstance(given, Mapping) else (given,):
                if value is not None and not (math.isfinite(value) and value > 0):
                    raise InputError(f"{name} is {value}; give a number above 0")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InputError(f"learning_rate is {self.learning_rate}; give a number above 0, such as 1e-3")
        if len(self.shares) != 4 or min(self.shares) < 0 or max(self.shares) <= 0:
            raise InputError(f"shares are {self.shares}; give four numbers of 0 or more, at least one of them above 0")
        if self.patience and not (self.validation or any(self.holdouts) or self.only_simulates):
            raise InputError(f"patience is {self.patience}, but nothing is held out; give validation or holdout_x")


def of_volume(given: Mapping[str, float], volume: str | Path) -> float | None:
    """The number that a dictionary gives for a volume, whose key may be a path."""
    return {str(key): value for key, value in given.items()}.get(str(volume))


def _check_names(option: str, given: object, volumes: Sequence[str | Path]) -> None:
    """Refuse a dictionary with a key that is none of the volumes."""
    unknown = {*map(str, given)} - {*map(str, volumes)} if isinstance(given, Mapping) else set[str]()
    if unknown:
        raise InputError(
            f"{option} has a number for {', '.join(sorted(unknown))}, but no such volume was given; write each key "
            f"as the volume itself: {', '.join(map(str, volumes)) or 'there is none'}"
        )
