"""Chooses between models by the cells that each finds on the same crops, at the diameter that suits it.

A model that knows the stain finds compact cells, which its flow fits and of which it is sure. One that does not finds
pieces. On the volumes that were tried the flow error was 0.1 to 0.4 with the right model, and 0.4 to 1.3 with the wrong
one. A wrong choice is worse than none: `choose_model` takes a model only if the other one is clearly worse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bigcp3d.pure.cells.plausibility import FEW_CELLS
from bigcp3d.pure.plural import count
from bigcp3d.work.analyse.estimate_diameter import SOUND_ERROR, DiameterTrial

LEAST_FILL, LEAST_FOREGROUND = 0.8, 0.85
"""Of plausible cells: median volume over that of the ellipsoid with equal moments, and mean predicted foreground."""

CLEARLY = 1.5
"""The flow error of the model that is not taken, over that of the one that is, must be at least this."""


@dataclass(frozen=True)
class Fit:
    """How well the cells of a trial fit the model that found them."""

    cells: int
    flow_error: float
    fill: float
    foreground: float

    @classmethod
    def of(cls, trial: DiameterTrial) -> Fit:
        """From the cells of a trial."""
        cells = trial.cells
        if not len(cells):
            return cls.nothing()
        foreground = float(np.average(cells.foreground, weights=cells.volume))
        return cls(len(cells), trial.flow_error, float(np.median(cells.fill)), foreground)

    @classmethod
    def nothing(cls) -> Fit:
        """Of no cells."""
        return cls(0, math.inf, 0.0, 0.0)

    @property
    def is_plausible(self) -> bool:
        """Whether cells may look like this."""
        sound = self.flow_error <= SOUND_ERROR and self.fill >= LEAST_FILL
        return self.cells >= FEW_CELLS and sound and self.foreground >= LEAST_FOREGROUND

    def __str__(self) -> str:
        if not self.cells:
            return "no cells"
        return (
            f"{count(self.cells, 'cell')}, flow error {self.flow_error:.2f}, mean foreground {self.foreground:.2f}, "
            f"compactness {self.fill:.2f}"
        )


def choose_model(fits: Mapping[str, Fit]) -> str | None:
    """The name of the model that fits; None if none is plausible or two fit about equally well."""
    first, *others = sorted(fits, key=lambda name: (not fits[name].is_plausible, fits[name].flow_error))
    rivals = [fits[name] for name in others if fits[name].cells >= FEW_CELLS]
    clear = all(rival.flow_error >= CLEARLY * fits[first].flow_error for rival in rivals)
    return first if fits[first].is_plausible and clear else None
