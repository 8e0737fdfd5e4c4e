"""Estimates the cell diameter from the image alone: a model is told diameters, from large to small.

The predicted flow leads to the centres of the cells that are found. At the right diameter it fits them best::

    told          44.8    31.7    22.4    15.8    11.2        micrometres; nuclei of 15.3 (from their labels)
    found         18.2    16.7    15.6    14.1    10.4        median
    flow error    0.37    0.19    0.13    0.29    0.53        least at about 1.4 times the cells' diameter

What is found there is the estimate; near it, found diameters hardly depend on what was told. Each diameter is tried on
a few crops of a fixed number of working voxels, so the work does not grow with the volume. Crops are computed side by
side, each on one thread, so the numbers do not depend on the machine's cores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.errors import InputError
from bigcp3d.pure.cells.found import FEW_CELLS, Found
from bigcp3d.pure.grid import Factors
from bigcp3d.pure.plural import count
from bigcp3d.work.analyse.crop_cells import CropCells
from bigcp3d.work.analyse.diameter_sample import DiameterSample, open_sample

ENOUGH_CELLS = 20
"""Fewer cells are a doubt, and do not end the search."""

PRIOR_CELLS = 5
"""A flow error of n cells counts as if it were 1 + `PRIOR_CELLS` / n times as large: few pieces may fit by chance."""

DOUBTFUL_VOX = 6.0
"""Below so many voxels of the finest axis, the cells may be noise, which is found at any small diameter."""

CUT_CELLS = 1.5
"""A flow error counts as if it were so many times as large where cells are cut: pieces look smaller than the cells."""

AS_WELL = 1.1
"""Flow errors up to so many times the least one are about as good."""

DISAGREE = 1.25
"""Medians that differ by a larger ratio are a doubt."""

SOUND_ERROR = 0.45
"""Flow errors above this are a doubt. Right models have 0.1 to 0.4, wrong ones 0.4 to 1.3."""

AT_ONCE = 2
"""Diameters that are tried at once."""

FindCells = Callable[[NDArray[np.float32]], tuple[CropCells, Found]]
"""Finds the cells of a normalised crop on the working grid, (c, z, y, x)."""


@dataclass(frozen=True, eq=False)
class DiameterTrial:
    """One diameter that the model was told, and the cells that it found; diameters are in the same unit."""

    told: float
    crops: tuple[CropCells, ...]
    unit_vox: float
    """The unit's length of a working voxel."""
    look: Found
    """What says how plausible the cells are."""
    model: str
    """Name of the model."""

    def __str__(self) -> str:
        """What was told and found."""
        found = f"{count(len(self.found), 'cell')}, median {self.median:.3g}"
        return f"tried {self.model} at diameter {self.told:.3g}: {found}"

    @classmethod
    def of(cls, told: float, crops: Iterable[tuple[CropCells, Found]], unit_vox: float, model: str) -> DiameterTrial:
        """From what was found in each crop."""
        cells, looks = zip(*crops, strict=True)
        return cls(told, cells, unit_vox, Found.join(looks), model)

    @property
    def cells(self) -> CropCells:
        """The cells that count: those that no crop's border cuts, or all if there are few."""
        return CropCells.concatenate(self.crops).counted

    @property
    def found(self) -> NDArray[np.float64]:
        """Diameters of the cells that count."""
        diameters: NDArray[np.float64] = np.cbrt(6 / np.pi * self.cells.volume) * self.unit_vox
        return diameters

    @property
    def median(self) -> float:
        """Median of the found diameters; 0 where nothing was found."""
        return float(np.median(self.found)) if len(self.found) else 0.0

    @property
    def is_cut(self) -> bool:
        """Whether borders cut nearly all cells, so that pieces count as well."""
        return sum(int(crop.whole.sum()) for crop in self.crops) < FEW_CELLS

    @property
    def flow_error(self) -> float:
        """Mean flow error of all cells, also of those that a border cuts."""
        return CropCells.concatenate(self.crops).mean_error

    @property
    def each_crop(self) -> tuple[DiameterTrial, ...]:
        """The same for each crop alone."""
        return tuple(replace(self, crops=(crop,)) for crop in self.crops)


@dataclass(frozen=True, eq=False)
class Estimate:
    """The diameter: in micrometres where ``in_um``, else in voxels of level 0.

    It is the median of ``cells`` cells; 80 % of their diameters lie between ``low`` and ``high``. ``doubts`` say why it
    may be wrong.
    """

    diameter: float
    low: float
    high: float
    cells: int
    in_um: bool
    doubts: tuple[str, ...]
    best: DiameterTrial
    """The trial whose cells these are."""
    trials: tuple[DiameterTrial, ...]
    """All diameters that were tried."""
    model: str = ""
    """The model, as it was given or chosen."""
    chosen: str = ""
    """Why it was chosen; empty where it was given."""


def estimate_diameter(
    source: str | Path,
    card: ModelCard,
    find: FindCells,
    *,
    channels: tuple[int, ...] = (0,),
    time: int = 0,
    scale_um: tuple[float, float, float] | None = None,
    prepare: str | None = None,
    threads: int = 1,
    on_event: Callable[[DiameterTrial], None] | None = None,
) -> Estimate:
    """Estimate the diameter of the cells of an image; a `NoCellsError` if none are found at any diameter.

    ``find`` is the network with this ``card`` (`bigcp3d.work.analyse.crop_cells.find_cells`). ``scale_um`` is for level
    0, where the image has none or a wrong one. ``prepare`` are filters before the network. ``threads`` do not change
    the result. ``on_event`` gets each diameter that was tried.
    """
    sample = open_sample(source, card, channels=channels, time=time, scale_um=scale_um, prepare=prepare)
    trials = list[DiameterTrial]()
    with ThreadPoolExecutor(threads) as pool:

        def attempt(diameters: list[float]) -> None:
            asked = [pool.map(find, sample.crops(sample.factors(told))) for told in diameters]
            for told, crops in zip(diameters, asked, strict=True):
                trials.append(DiameterTrial.of(told, crops, told / card.diameter_vox, card.name))
                if on_event is not None:
                    on_event(trials[-1])

        ladder = list(sample.ladder())
        for first in range(0, len(ladder), AT_ONCE):
            attempt(ladder[first : first + AT_ONCE])
            best = _best(trials)
            found_enough = len(best.found) >= ENOUGH_CELLS and best.flow_error <= SOUND_ERROR
            if found_enough and trials[-1].told < best.median:
                break
    if not any(len(trial.found) for trial in trials):
        raise _nothing_found(sample, trials)
    best = _best(trials)
    low, middle, high = (float(d) for d in np.percentile(best.found, [10, 50, 90]))
    doubts = tuple(_doubts(sample, best))
    return Estimate(middle, low, high, len(best.found), sample.scale_known, doubts, best, tuple(trials))


def try_factors(sample: DiameterSample, find: FindCells, image_factors: Factors) -> DiameterTrial:
    """The cells that are found where a working voxel is so many voxels of level 0."""
    working = math.prod(f * s for f, s in zip(image_factors, sample.scale, strict=True)) ** (1 / 3)
    told, crops = working * sample.card.diameter_vox, map(find, sample.crops(image_factors))
    return DiameterTrial.of(told, crops, working, sample.card.name)


def _best(trials: list[DiameterTrial]) -> DiameterTrial:
    """The trial of the least misfit, or the smallest diameter that fits about as well: too large ones enlarge cells."""
    least = min(map(_misfit, trials))
    return min((trial for trial in trials if _misfit(trial) <= AS_WELL * least), key=lambda trial: trial.told)


def _misfit(trial: DiameterTrial) -> float:
    """The flow error, raised where cells are few or cut; infinite where there are none."""
    number = sum(map(len, trial.crops))
    raised = (1 + PRIOR_CELLS / number) * (CUT_CELLS if trial.is_cut else 1) if number else 1
    return trial.flow_error * raised


class NoCellsError(InputError):
    """A model finds no cells of any diameter."""


def _nothing_found(sample: DiameterSample, trials: list[DiameterTrial]) -> NoCellsError:
    tried = ", ".join(f"{trial.told:.3g}" for trial in trials) or "none"
    return NoCellsError(
        f"{sample.image.path}: model {sample.card.name} finds no cells of any diameter (tried {tried}); look at the "
        "channel in a viewer, check --channel, take another --model, or give --diameter"
    )


def _doubts(sample: DiameterSample, best: DiameterTrial) -> Iterator[str]:
    """Why the estimate may be wrong, in words."""
    if (number := len(best.found)) < ENOUGH_CELLS:
        yield f"it comes from only {count(number, 'cell')}"
    medians = [trial.median for trial in best.each_crop if len(trial.found) >= ENOUGH_CELLS // 2]
    if len(medians) > 1 and max(medians) > DISAGREE * min(medians):
        yield f"cells of parts of the volume differ in size ({', '.join(f'{median:.3g}' for median in medians)})"
    if best.flow_error > SOUND_ERROR:
        yield f"the predicted flow hardly fits the cells (error {best.flow_error:.2f}, of up to {SOUND_ERROR:g})"
    if best.is_cut:
        yield "the borders of the crops cut nearly all cells"
    if (voxels := best.median / min(sample.scale)) < DOUBTFUL_VOX:
        yield f"what was found is only {voxels:.2g} voxels wide, and may be noise"
