"""What a run found, in a few numbers (`bigcp3d.pure.cells.plausibility` says whether they look like cells).

Every number follows from sums over whole objects or over voxels. So none depends on blocks, and a crop in memory gives
them as well.
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


def sum_up_one_part(sums: Sums, keep: NDArray[np.bool_], removed: Mapping[str, int], shape: Vec3) -> dict[str, Any]:
    """The fields of `Found` from ``cells`` on of n objects, all in one part (`count_cells`, `sum_up_cells`)."""
    counts = count_cells(sums, keep, shape)
    return sum_up_cells([counts.totals], lambda kind: iter([counts.sorted[kind]]), removed)
