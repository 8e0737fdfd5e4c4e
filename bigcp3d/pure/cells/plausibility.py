"""Whether what a run found looks like cells: a few numbers, and a sentence about each that is odd.

A wrong model, channel or diameter gives labels too, so the numbers are compared with those that cells give. Every
number follows from sums over whole objects or over voxels. So none depends on blocks, and a crop in memory gives them
as well.

Invariant: the check changes no label. `tests.benchmarks.plausibility` shows how often it warns of right and of wrong
settings.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.cells.median import median_of_sorted
from bigcp3d.pure.group.objects import ellipsoid_fill
from bigcp3d.pure.plural import count
from bigcp3d.pure.track.sinks import Sums
from bigcp3d.pure.track.units import UNIT

FEW_CELLS = 5
"""If fewer cells are whole, those that the border cuts count as well. Fewer in all say nothing about a model."""

OF_THE_MODEL = ("no cells", "crooked flow", "ragged cells", "weak foreground")
"""Oddities that speak against the model, whatever diameter it was told."""


@dataclass(frozen=True)
class Finding:
    """One thing that is odd: a word for programs (``kind``), and a sentence with the numbers and what to try."""

    kind: str
    text: str


@dataclass(frozen=True)
class Found:
    """What a run found at one time point, or in a crop; volumes are in working voxels.

    Attributes
    ----------
    diameter_vox : float
        Diameter of the cells that the model looks for.
    volume_vox, foreground_vox, assigned_vox : int
        Voxels of the region; those that are foreground; those of them whose paths end within reach.
    path_squares : int
        How badly the flow points to where the paths end (`bigcp3d.pure.track.path_error`), summed over assigned voxels;
        0 where flow is not "tanh".
    cells, whole : int
        Cells that are kept; those of them that the volume's border does not cut.
    removed : dict of str to int
        Objects that each filter removed.
    removed_vox, labelled_vox, largest_vox : int
        Voxels of the removed objects, of all cells, and of the largest cell.
    median_vox : float
        Median volume of the whole cells, or of all if few are whole.
    fill : float
        Median of volume over that of the ellipsoid with equal moments, of the same cells; 0.9 for compact cells.
    foreground : float
        Mean predicted foreground over the voxels of all cells, 0 to 1.
    diameter_um : float, optional
        The same in micrometres; None where it is not known.
    """

    diameter_vox: float
    volume_vox: int
    foreground_vox: int
    assigned_vox: int
    path_squares: int
    cells: int = 0
    whole: int = 0
    removed: Mapping[str, int] = field(default_factory=dict)
    removed_vox: int = 0
    labelled_vox: int = 0
    largest_vox: int = 0
    median_vox: float = 0.0
    fill: float = 0.0
    foreground: float = 0.0
    diameter_um: float | None = None

    @property
    def path_error(self) -> float:
        """Mean squared path error of an assigned voxel, in (voxels per step) squared."""
        return self.path_squares / max(1, self.assigned_vox) / UNIT**2

    @property
    def size(self) -> float:
        """Diameter of the typical cell over the expected one."""
        return math.cbrt(self.median_vox / self.ball_vox)

    @property
    def ball_vox(self) -> float:
        """Volume of a ball of the expected diameter."""
        return math.pi / 6 * self.diameter_vox**3

    def __str__(self) -> str:
        if not self.cells:
            return "no cells"
        return (
            f"{count(self.cells, 'cell')}, path error {self.path_error:.2f}, mean foreground {self.foreground:.2f}, "
            f"compactness {self.fill:.2f}"
        )

    @classmethod
    def join(cls, parts: Sequence[Found]) -> Found:
        """What was found in several crops. Of medians it takes the mean, each cell counting once."""
        added = ("volume_vox", "foreground_vox", "assigned_vox", "path_squares", "cells", "whole", "removed_vox")
        total: dict[str, Any] = {name: sum(getattr(part, name) for part in parts) for name in (*added, "labelled_vox")}
        cells, labelled = max(1, total["cells"]), max(1, total["labelled_vox"])
        removed = Counter[str]()
        for part in parts:
            removed.update(part.removed)
        total |= {
            "diameter_vox": parts[0].diameter_vox,
            "removed": dict(removed),
            "largest_vox": max(part.largest_vox for part in parts),
            "median_vox": sum(part.cells * part.median_vox for part in parts) / cells,
            "fill": sum(part.cells * part.fill for part in parts) / cells,
            "foreground": sum(part.labelled_vox * part.foreground for part in parts) / labelled,
        }
        return cls(**total)


@dataclass(frozen=True, eq=False)
class CellCounts:
    """Some of the objects of a time point, as `sum_up_cells` needs them; whole numbers are ready for JSON.

    ``sorted`` has two arrays, of the cells that the volume's border cuts not and of those that it does: float64 (2, n),
    volumes and `ellipsoid_fill`, each sorted.
    """

    totals: dict[str, int]
    sorted: tuple[NDArray[np.float64], NDArray[np.float64]]


def count_cells(sums: Sums, keep: NDArray[np.bool_], shape: Vec3) -> CellCounts:
    """Count n objects, of which ``keep``, bool (n,), are cells, in a volume of ``shape`` (z, y, x)."""
    cells = sums.take(keep)
    whole = ~np.any((cells.low == 0) | (cells.high == np.array(shape)), axis=1)
    columns = np.stack([cells.count.astype(np.float64), ellipsoid_fill(cells)])
    totals = {
        "objects_vox": int(sums.count.sum()),
        "cells": len(cells),
        "whole": int(whole.sum()),
        "labelled_vox": int(cells.count.sum()),
        "largest_vox": int(cells.count.max(initial=0)),
        "foreground": int(cells.foreground.sum()),
    }
    return CellCounts(totals, (np.sort(columns[:, whole]), np.sort(columns[:, ~whole])))


def sum_up_cells(
    totals: Sequence[Mapping[str, int]],
    sorted_cells: Callable[[int], Iterator[NDArray[np.float64]]],
    removed: Mapping[str, int],
) -> dict[str, Any]:
    """The fields of `Found` from ``cells`` on, ready for JSON, from the `CellCounts` of all parts.

    ``sorted_cells(0)`` gives the arrays of whole cells and ``sorted_cells(1)`` those of cut cells, each time anew.
    ``removed`` are the numbers of `bigcp3d.pure.group.objects.keep_objects`.
    """
    labelled, cells, whole = (sum(part[name] for part in totals) for name in ("labelled_vox", "cells", "whole"))
    rest = {"removed": dict(removed), "removed_vox": sum(part["objects_vox"] for part in totals) - labelled}
    if not cells:
        return rest
    kinds = (0,) if whole >= FEW_CELLS else (0, 1)

    def column(row: int) -> Iterator[NDArray[np.float64]]:
        return (array[row] for kind in kinds for array in sorted_cells(kind))

    return rest | {
        "cells": cells,
        "whole": whole,
        "labelled_vox": labelled,
        "largest_vox": max(part["largest_vox"] for part in totals),
        "median_vox": median_of_sorted(lambda: column(0)),
        "fill": median_of_sorted(lambda: column(1)),
        "foreground": sum(part["foreground"] for part in totals) / max(1, labelled) / UNIT,
    }


def measure_cells(sums: Sums, keep: NDArray[np.bool_], removed: Mapping[str, int], shape: Vec3) -> dict[str, Any]:
    """The fields of `Found` from ``cells`` on of n objects, all in one part (`count_cells`, `sum_up_cells`)."""
    counts = count_cells(sums, keep, shape)
    return sum_up_cells([counts.totals], lambda kind: iter([counts.sorted[kind]]), removed)


MOST_PATH_ERROR = 0.3
"""Mean path error up to which the flow fits; right settings gave 0.08 to 0.26, a wrong model 0.4 to 0.9."""

SIZES = (0.6, 1.6)
"""Diameter of the typical cell over the expected one."""

MOST_BALLS = 8.0
"""Volume of the largest cell over that of the ball of the expected diameter."""

MOST_REMOVED = 0.5
"""Share of the objects that the filters remove."""

LEAST_FILL = 0.75
"""Median volume of the cells over that of their ellipsoid."""

LEAST_FOREGROUND = 0.87
"""Mean predicted foreground of the cells."""

MOST_UNASSIGNED = 0.01
"""Share of the foreground whose paths end out of reach."""


def find_oddities(found: Found) -> list[Finding]:
    """What is odd about the cells that were found, in the order in which it matters; empty where nothing is."""
    return [Finding(kind, text) for kind, text in _oddities(found)]


def doubt(found: Found) -> tuple[int, float]:
    """How much the cells speak against the model: of two models, the one with the smaller value is more plausible.

    The number of odd things, too few cells among them, then the path error.
    """
    odd = [kind for kind, _ in _oddities(found) if kind in OF_THE_MODEL]
    return len(odd) + (found.cells < FEW_CELLS), found.path_error


def _oddities(found: Found) -> Iterator[tuple[str, str]]:
    if not found.cells:
        yield "no cells", "no cells were found: check --channel, or try another --model or --diameter"
    if found.assigned_vox and found.path_error > MOST_PATH_ERROR:
        yield (
            "crooked flow",
            "the predicted flow does not lead straight to the centres of the cells (path error "
            f"{found.path_error:.2f}; usual is at most {MOST_PATH_ERROR:g}). The model may not know this stain: try "
            "another --model or --channel",
        )
    if found.cells and not SIZES[0] <= found.size <= SIZES[1]:
        other = f"that is {found.size:.2f} times as large as now"
        if found.diameter_um is not None:
            other = f"of about {found.size * found.diameter_um:.2g} um"
        yield "size", f"the typical cell has {found.size:.2f} times the expected diameter: try a --diameter {other}"
    if (balls := found.largest_vox / found.ball_vox) > MOST_BALLS:
        yield (
            "largest cell",
            f"the largest cell has {balls:.3g} times the volume of a ball of the expected diameter. Several cells may "
            "be fused in it: try a larger --diameter, or another --model",
        )
    objects = found.cells + sum(found.removed.values())
    if objects - found.cells > MOST_REMOVED * objects:
        why = ", ".join(f"{number:,} {name}" for name, number in found.removed.items() if number)
        yield (
            "removed",
            f"the filters removed {1 - found.cells / objects:.0%} of {objects:,} candidates ({why}): try another "
            "--model, --channel or --diameter",
        )
    if found.cells and found.fill < LEAST_FILL:
        yield (
            "ragged cells",
            f"the typical cell has a ragged shape: it fills {found.fill:.0%} of its ellipsoid, while a compact cell "
            "fills about 90 %. Try another --model or a larger --diameter",
        )
    if found.cells and found.foreground < LEAST_FOREGROUND:
        yield (
            "weak foreground",
            f"the model is unsure of the cells (mean foreground {found.foreground:.2f}; usual is at least "
            f"{LEAST_FOREGROUND:g}). Try another --model, --channel or --diameter",
        )
    lost = found.foreground_vox - found.assigned_vox
    if lost > MOST_UNASSIGNED * found.foreground_vox:
        yield (
            "unassigned",
            f"{lost:,} of {found.foreground_vox:,} foreground voxels stay without a label, as the flow leads them more "
            f"than {1.5 * found.diameter_vox:.0f} voxels away. Cells may be larger than expected: give "
            "a larger --diameter or --radius",
        )
