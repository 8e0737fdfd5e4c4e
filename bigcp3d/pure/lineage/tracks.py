"""Numbers tracks: a track is a cell over time, from its birth to its division, its end, or the last time point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.lineage.links import Links


@dataclass(frozen=True, eq=False)
class Tracks:
    """For each time point, the track of each cell, shape (n,), from 1; for each track, its parent track, or 0.

    ``parents[0]`` stands for no track. Tracks are numbered by their first time point, then by the first cell's row.
    """

    of_cells: tuple[NDArray[np.int64], ...]
    parents: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.parents) - 1

    @property
    def divisions(self) -> int:
        """Number of tracks that end in two daughters."""
        return len(np.unique(self.parents[self.parents > 0]))


def number_tracks(cells: Sequence[int], links: Sequence[Links]) -> Tracks:
    """Tracks of the cells of all time points.

    Parameters
    ----------
    cells : sequence of int
        Number of cells of each time point.
    links : sequence of ndarray of int64, each of shape (n, 2)
        Rows of parents and daughters, between each time point and the next.
    """
    first = np.arange(1, cells[0] + 1, dtype=np.int64)
    tracks, parents = [first], [np.zeros(cells[0] + 1, np.int64)]
    count = cells[0]
    for n, joined in zip(cells[1:], links, strict=True):
        before = tracks[-1]
        single = np.bincount(joined[:, 0], minlength=len(before))[joined[:, 0]] == 1
        now, parent = np.zeros(n, np.int64), np.zeros(n, np.int64)
        now[joined[single, 1]] = before[joined[single, 0]]
        parent[joined[~single, 1]] = before[joined[~single, 0]]
        new = np.flatnonzero(now == 0)
        now[new] = count + 1 + np.arange(len(new))
        parents.append(parent[new])
        tracks.append(now)
        count += len(new)
    return Tracks(tuple(tracks), np.concatenate(parents))
