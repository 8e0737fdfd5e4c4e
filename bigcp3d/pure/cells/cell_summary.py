"""Summarise very many cells in a few numbers: typical values, a histogram, the largest, smallest and oddest cells.

Cells come as rows, part by part, and are read twice, so memory holds one part and the summary. The first reading finds
ranges and typical values, the second counts and chooses.

A cell is *odd* if it differs from the others (`bigcp3d.pure.cells.typical`): it is much longer than wide, fills its
ellipsoid badly (two cells in one, branches, hollows), or has a weak predicted foreground.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.cells.typical import Typical

BINS = 32
"""Bars of the histogram, equally wide in the logarithm of the volume."""

ODD = {"elongation": 1, "fill": -1, "foreground": -1}
"""Columns, and whether high (1) or low (-1) values are odd."""

SAMPLE = 2**20
"""Cells, evenly spread, from which typical values are found if there are more."""

SHOWN = 10
"""Cells of each kind: the largest, the smallest and the oddest."""


@dataclass(frozen=True, eq=False)
class CellRows:
    """n cells, one row each; shapes are (n,) unless stated, unknown values are NaN."""

    time: NDArray[np.int64]
    ids: NDArray[np.uint64]
    volume: NDArray[np.int64]
    """Voxels of the label image."""
    low: NDArray[np.int64]
    """Shape (n, 3): first voxel of the bounding box, in the label image."""
    high: NDArray[np.int64]
    """Shape (n, 3): one past its last voxel."""
    elongation: NDArray[np.float64]
    """Longest over shortest principal axis."""
    fill: NDArray[np.float64]
    """Volume over that of the ellipsoid with equal second moments."""
    foreground: NDArray[np.float64]
    """Mean predicted foreground."""
    border: NDArray[np.bool_]
    """Whether the cell touches the volume's border."""

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> CellRows:
        """Some rows."""
        return CellRows(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @classmethod
    def concatenate(cls, parts: Sequence[CellRows]) -> CellRows:
        """Rows of all parts, one after the other; at least one part."""
        return cls(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)})


Parts = Callable[[], Iterator[CellRows]]
"""Gives all cells, part by part, each time that it is called."""


@dataclass(frozen=True, eq=False)
class CellSummary:
    """Numbers about all cells, and the most extreme ones."""

    cells: int
    voxels: int
    """Voxels of all cells."""
    border: int
    """Cells that touch the volume's border."""
    median: dict[str, float]
    """Medians of volume, elongation, fill and foreground."""
    edges: NDArray[np.float64]
    """Shape (BINS + 1,), in voxels: bar i of the histogram holds edges[i] <= volume < edges[i + 1]."""
    counts: NDArray[np.int64]
    """Shape (BINS,)."""
    largest: CellRows
    """The largest first."""
    smallest: CellRows
    oddest: CellRows
    """Without cells at the border."""
    why: tuple[str, ...]
    """For each of the oddest, the column in which it is odd."""


def summarise_cells(parts: Parts) -> CellSummary:
    """Summarise all cells, with `SHOWN` cells of each kind; of equal ones the earlier are chosen."""
    cells = voxels = border = 0
    least, most, sample, step = np.iinfo(np.int64).max, 1, [_no_rows()], 1
    for rows in parts():
        sample.append(rows.take(slice(-cells % step, None, step)))
        cells, voxels, border = cells + len(rows), voxels + int(rows.volume.sum()), border + int(rows.border.sum())
        least, most = min(least, int(rows.volume.min(initial=least))), max(most, int(rows.volume.max(initial=1)))
        if sum(map(len, sample)) > 2 * SAMPLE:
            sample, step = [CellRows.concatenate(sample).take(slice(None, None, 2))], 2 * step
    if not cells:
        none = _no_rows()
        return CellSummary(0, 0, 0, {}, np.ones(BINS + 1), np.zeros(BINS, np.int64), none, none, none, ())
    edges = histogram_edges(least, most)
    seen = CellRows.concatenate(sample)
    typical = [t for name in ODD if (t := Typical.of(name, getattr(seen, name), seen.border))]
    counts, tops = np.zeros(BINS, np.int64), [_no_rows()] * 3
    for rows in parts():
        counts += np.histogram(rows.volume, edges)[0]
        inner = rows.take(~rows.border)
        tops[0] = _best(tops[0], rows, lambda r: r.volume.astype(np.float64))
        tops[1] = _best(tops[1], rows, lambda r: -r.volume.astype(np.float64))
        tops[2] = _best(tops[2], inner, lambda r: _oddness(r, typical).max(axis=0))
    why = _oddness(tops[2], typical).argmax(axis=0).tolist() if typical else []
    median = {name: _median(getattr(seen, name)) for name in ("volume", "elongation", "fill", "foreground")}
    largest, smallest, oddest = tops
    names = tuple(typical[k].name for k in why)
    return CellSummary(cells, voxels, border, median, edges, counts, largest, smallest, oddest, names)


def histogram_edges(least: int, most: int) -> NDArray[np.float64]:
    """Edges from the smallest to the largest volume, in equal ratios."""
    top = max(most, least + 1) * (1 + 1e-9)
    edges = np.geomspace(least, top, BINS + 1)
    edges[0] = least
    return edges


def _median(values: NDArray[np.generic]) -> float:
    numbers = values.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    return float(np.median(finite)) if len(finite) else float("nan")


def _oddness(rows: CellRows, typical: Sequence[Typical]) -> NDArray[np.float64]:
    """Oddness by column and row; one column of zeros where nothing is typical."""
    if not typical:
        return np.zeros((1, len(rows)))
    return np.stack([ODD[t.name] * t.deviations(getattr(rows, t.name)) for t in typical])


def _best(best: CellRows, rows: CellRows, score: Callable[[CellRows], NDArray[np.float64]]) -> CellRows:
    both = CellRows.concatenate([best, rows])
    return both.take(np.argsort(-score(both), kind="stable")[:SHOWN])


def _no_rows() -> CellRows:
    none, flat, box = np.empty(0, np.int64), np.empty(0), np.empty((0, 3), np.int64)
    return CellRows(none, np.empty(0, np.uint64), none, box, box, flat, flat, flat, np.empty(0, bool))
