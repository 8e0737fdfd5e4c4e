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

DATA = "What to learn from"
MODEL = "The model"
WORK = "The training"


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The options of a training; the arguments of `bigcp3d.train`."""

    volumes: Annotated[Sequence[str | Path], Option(metavar="IN.zarr", positional=True, many=True)] = ()
    """OME-Zarr images with labels, each PATH, PATH::LABELS, or PATH::TRUTH.zarr for labels in another store or file."""
    output: Annotated[str | Path, Option(MODEL, "MODEL.safetensors")]
    """The model file to write; the learning curve and a checkpoint lie beside it."""
    labels_name: Annotated[str, Option(DATA)] = "truth"
    """Labels to learn, where a volume does not name its own."""
    channel: Annotated[int | str | Sequence[int | str] | None, Option(DATA, "N|NAME", many=True)] = None
    """Channel of the volumes, from 0, or its name. Of several the model takes all, in this order; nothing is painted or
    simulated then. Default: the first, or those that the model of --start names."""
    diameter_um: Annotated[float | Mapping[str, float] | None, Option(DATA, "UM")] = None
    """Cell diameter in all volumes; painted ones, and those for validation, are measured. In Python also a mapping from
    volumes, as given, to diameters. Default: measured in each, from its whole cells."""
    painted: Annotated[Sequence[str | Path], Option(DATA, "IN.zarr", many=True)] = ()
    """Labels to paint membranes around, or nuclei into with --simulate nuclei. May be repeated."""
    from_edits: Annotated[Sequence[str | Path], Option(DATA, "IN.zarr", many=True)] = ()
    """An image with labels that were reviewed (bigcp3d review, bigcp3d edit): PATH, or PATH::LABELS (default: cells).
    Only cells that were decided good or that a correction made are learned, the background near them, and what was
    deleted. May be repeated."""
    simulate: Annotated[Literal["membrane", "nuclei"] | None, Option(DATA)] = None
    """Mix in simulated tissue. With it, volumes may be left out."""
    shares: Annotated[tuple[float, float, float, float], Option(flag="")] = (0.5, 0.2, 0.25, 0.05)
    """How often a sample comes from the volumes, the painted ones, simulated tissue and noise. Kinds that are not
    given do not count."""
    validation: Annotated[Sequence[str | Path], Option(DATA, "IN.zarr", many=True)] = ()
    """A volume for validation, from which nothing is learned. May be repeated."""
    holdout_x: Annotated[float | Mapping[str, float], Option(DATA, "0..1")] = 0.0
    """Share of each volume, at the end of x, to hold out: 0 to below 1. In Python also a mapping from volumes, as
    given, to shares; others are not held out."""
    min_cell_vox: Annotated[int, Option(DATA, "VOX")] = 50
    """Labels below this many voxels are not learned."""
    start: Annotated[str | Path | None, Option(MODEL, "NAME|PATH")] = None
    """Train on from a model (see: bigcp3d models): a few volumes of yours and a few hundred steps adapt it.
    Settings below that are left out are as in that model."""
    name: Annotated[str | None, Option(MODEL)] = None
    """Name of the model. Default: the file's name."""
    description: Annotated[str, Option(MODEL)] = ""
    """Training data and licences, for the card."""
    representation: Annotated[Literal["tanh", "heat"] | None, Option(MODEL)] = None
    """What the flow is (bigcp3d/pure/learn/targets.py). Default: tanh."""
    diameter_vox: Annotated[float | None, Option(MODEL, "VOX", "--diameter-voxels")] = None
    """Cell diameter that the network knows. Default: 16."""
    tanh_scale_vox: Annotated[float | None, Option(MODEL, "VOX")] = None
    """Scale s of the tanh. Default: a fifth of the diameter."""
    architecture: Annotated[Literal["eschweiler", "half"] | None, Option(MODEL)] = None
    """The published 3D U-Net (default), or a faster one at half the resolution inside."""
    features: Annotated[int | None, Option(MODEL)] = None
    """Features of the first level; they double below. Default: 16."""
    depth: Annotated[int | None, Option(MODEL)] = None
    """Levels of the network. Default: 4."""
    percentiles: Annotated[tuple[float, float] | None, Option(flag="")] = None
    """Percentiles of the intensities that become 0 and 1."""
    prediction_patch: Annotated[Vec3 | None, Option(flag="")] = None
    """Patch in which the model predicts later, in working voxels."""
    margin: Annotated[int | None, Option(flag="")] = None
    """Voxels at the border of such a patch whose prediction is not used."""
    balance: Annotated[float, Option(WORK, "0..1")] = 0.0
    """How much small cells and slivers at a border count in the loss: from 0, by their voxels, to 1, as whole cells.
    0.5 is a good choice where the smallest labels are cells."""
    steps: Annotated[int, Option(WORK)] = 2000
    """Optimisation steps."""
    patch: Annotated[Vec3, Option(WORK, "Z Y X")] = (48, 64, 64)
    """Training patch in working voxels: multiples of 2 to the number of levels. Where Y and X are equal, samples are
    turned by 90 degrees too."""
    batch: Annotated[int, Option(WORK)] = 2
    """Patches in a step."""
    learning_rate: Annotated[float, Option(WORK)] = 1e-3
    """Learning rate of RAdam at the start."""
    seed: Annotated[int, Option(WORK)] = 0
    """Seed of patches and weights."""
    every: Annotated[int, Option(WORK)] = 250
    """Steps between validations. Each segments pieces of what is held out, adds a row to the learning curve and writes
    a checkpoint."""
    keep: Annotated[Literal["best", "last"], Option(WORK)] = "best"
    """The model of the best validation (mean of the cells' Dice and AP at IoU 0.5), or of the last step. Where nothing
    is held out, the last. Scores on the data that chose the model are too good: measure on others."""
    patience: Annotated[int, Option(WORK)] = 0
    """End after so many validations without a gain. 0: never."""
    workers: Annotated[int, Option(WORK, "N")] = 0
    """Processes that make samples ahead. 0: none. No sample depends on it."""
    cache: Annotated[str | Path | None, Option(WORK, "DIR")] = None
    """Folder for samples on disk, about 0.5 MB each. Those of the same settings are found there, whoever made them."""
    cache_gb: Annotated[float, Option(WORK, "GB", "--cache-gb")] = 20.0
    """Most of the disk for samples that were shown; the oldest are removed."""
    repeat: Annotated[int, Option(WORK, "N")] = 1
    """How often each sample is shown, turned otherwise each time. Above 1 it needs --cache; 4 saves most of the time
    that samples cost."""
    samples_only: Annotated[bool, Option(WORK)] = False
    """Fill the cache with the samples of all steps, and do not train."""
    device: Annotated[str | None, Option(WORK, "cpu|cuda")] = None
    """Default: cuda where there is one."""
    precision: Annotated[Literal["auto", "float32", "bfloat16"], Option(WORK)] = "auto"
    """Precision of the activations; weights are float32. auto: bfloat16 where the processor has instructions for it."""
    resume: Annotated[bool, Option(WORK)] = False
    """Go on from the checkpoint beside the model, bit for bit, with its options: only --output is needed. More --steps
    continue a training that has ended. Options that would change the steps that were done are refused."""
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

    def check(self) -> None:
        """Refuse values that no volume could make right."""
        check_choices(self)
        if not self.has_data:
            raise InputError(
                "there is nothing to learn from; give volumes with labels, --from-edits, --painted, or --simulate"
            )
        if not all(0 <= share < 1 for share in self.holdouts):
            raise InputError(f"holdout_x is {self.holdout_x}; give the share of x to keep back, 0 to below 1")
        if self.samples_only and self.cache is None:
            raise InputError("samples are to be made, but there is no place for them; give a folder (--cache)")
        if self.repeat > 1 and self.cache is None:
            raise InputError(f"repeat is {self.repeat}, but samples are not kept; give a folder for them (--cache)")
        if not self.cache_gb >= 0:
            raise InputError(f"cache_gb is {self.cache_gb}; give 0 or more")
        if not 0 <= self.balance <= 1:
            raise InputError(f"balance is {self.balance}; give 0 to 1, 0.5 to let small cells count more")
        for name, least in {"steps": 1, "every": 1, "batch": 1, "repeat": 1, "patience": 0, "workers": 0}.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; give {least} or more")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InputError(f"learning_rate is {self.learning_rate}; give a number above 0, 1e-3 for a start")
        if len(self.shares) != 4 or min(self.shares) < 0 or max(self.shares) <= 0:
            raise InputError(f"shares are {self.shares}; give four numbers of 0 or more, at least one of them above 0")
        if self.patience and not (self.validation or max(self.holdouts) or self.simulate):
            raise InputError(f"patience is {self.patience}, but nothing is held out; give validation or holdout_x")
