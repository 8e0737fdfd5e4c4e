"""A few numbers about very many cells: how large they are, which stand out, how many lie across each seam.

Cells come as rows, part by part and twice over, so that memory holds one part and what is kept of all. The first round
finds ranges and typical values, the second counts and chooses.

A cell is *odd* where its shape or its foreground is far from that of the others, in robust standard deviations: it is
much longer than wide, fills its ellipsoid badly (two cells in one, branches, hollows), or the network was unsure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

BINS = 32
"""Bars of the histogram; equally wide in the logarithm of the volume."""

SAMPLE = 2**20
"""Rows from which typical values are found, evenly spread, where there are more cells than that."""

ROBUST = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


@dataclass(frozen=True, eq=False)
class CellRows:
    """Some cells, a row each.

    Attributes
    ----------
    time, ids, volume : ndarray of int64, shape (n,)
        Time point; id; voxels of the label image.
    low, high : ndarray of int64, shape (n, 3)
        Box in voxels of the label image, half open.
    elongation, fill, foreground : ndarray of float64, shape (n,)
        Longest over shortest principal axis; volume over that of the ellipsoid with equal second moments; mean
        predicted foreground. NaN where it is not known.
    border : ndarray of bool, shape (n,)
        Whether the cell touches the volume's border.
    """

    time: NDArray[np.int64]
    ids: NDArray[np.int64]
    volume: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    elongation: NDArray[np.float64]
    fill: NDArray[np.float64]
    foreground: NDArray[np.float64]
    border: NDArray[np.bool_]

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
    """What is kept of all cells.

    Attributes
    ----------
    cells, voxels, border : int
        Cells; their voxels; cells that touch the volume's border.
    median : dict of str to float
        Of volume, elongation, fill, foreground.
    edges : ndarray of float64, shape (BINS + 1,)
        Of the histogram, in voxels; bar i holds edges[i] <= volume < edges[i + 1].
    counts : ndarray of int64, shape (BINS,)
    largest, smallest, oddest : CellRows
        The most extreme first; the oddest are none that touches the border.
    why : tuple of str
        For each of the oddest, in what it is odd: a column's name.
    """

    cells: int
    voxels: int
    border: int
    median: dict[str, float]
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    largest: CellRows
    smallest: CellRows
    oddest: CellRows
    why: tuple[str, ...]


@dataclass(frozen=True)
class Typical:
    """Median and robust standard deviation of a column; ``sign`` says which way it is odd."""

    name: str
    sign: int
    median: float
    spread: float

    def oddness(self, rows: CellRows) -> NDArray[np.float64]:
        """How far each row lies out, in standard deviations; NaN counts as ordinary."""
        values = (_odd_value(rows, self.name) - self.median) / self.spread * self.sign
        return np.where(np.isfinite(values), values, 0.0)


def _odd_value(rows: CellRows, name: str) -> NDArray[np.float64]:
    """The column in which oddness is measured: the logarithm where it is a ratio."""
    values: NDArray[np.float64] = getattr(rows, name)
    return np.log(values) if name == "elongation" else values


def summarise_cells(parts: Parts, *, keep: int = 10) -> CellSummary:
    """CellSummary all cells.

    Parameters
    ----------
    parts : callable
        Gives the rows, the same each time.
    keep : int
        Cells of each kind that are chosen; ties go to the earlier row.

    Returns
    -------
    CellSummary
    """
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
    whole = seen.take(~seen.border) if not seen.border.all() else seen
    typical = [
        t for name, sign in (("elongation", 1), ("fill", -1), ("foreground", -1)) if (t := _typical(whole, name, sign))
    ]
    counts, tops = np.zeros(BINS, np.int64), [_no_rows()] * 3
    for rows in parts():
        counts += np.histogram(rows.volume, edges)[0]
        inner = rows.take(~rows.border)
        tops[0] = _best(tops[0], rows, lambda r: r.volume.astype(np.float64), keep)
        tops[1] = _best(tops[1], rows, lambda r: -r.volume.astype(np.float64), keep)
        tops[2] = _best(tops[2], inner, lambda r: _oddness(r, typical).max(axis=0), keep)
    why = _oddness(tops[2], typical).argmax(axis=0).tolist() if typical else []
    median = {name: _median(getattr(seen, name)) for name in ("volume", "elongation", "fill", "foreground")}
    largest, smallest, oddest = tops
    names = tuple(typical[k].name for k in why)
    return CellSummary(cells, voxels, border, median, edges, counts, largest, smallest, oddest, names)


def histogram_edges(least: int, most: int) -> NDArray[np.float64]:
    """Edges between the smallest and the largest volume, in equal ratios; the last bar holds the largest."""
    top = max(most, least + 1) * (1 + 1e-9)
    edges = np.geomspace(least, top, BINS + 1)
    edges[0] = least
    return edges


def _median(values: NDArray[np.generic]) -> float:
    numbers = values.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    return float(np.median(finite)) if len(finite) else float("nan")


def _typical(rows: CellRows, name: str, sign: int) -> Typical | None:
    values = _odd_value(rows, name)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return None
    middle = float(np.median(values))
    return Typical(name, sign, middle, max(ROBUST * float(np.median(np.abs(values - middle))), 0.01))


def _oddness(rows: CellRows, typical: Sequence[Typical]) -> NDArray[np.float64]:
    """By column and row; one column of zeros where nothing is typical."""
    if not typical:
        return np.zeros((1, len(rows)))
    return np.stack([t.oddness(rows) for t in typical])


def _best(best: CellRows, rows: CellRows, score: Callable[[CellRows], NDArray[np.float64]], keep: int) -> CellRows:
    both = CellRows.concatenate([best, rows])
    return both.take(np.argsort(-score(both), kind="stable")[:keep])


def _no_rows() -> CellRows:
    none, flat = np.empty(0, np.int64), np.empty(0)
    return CellRows(none, none, none, none.reshape(0, 3), none.reshape(0, 3), flat, flat, flat, np.empty(0, bool))
