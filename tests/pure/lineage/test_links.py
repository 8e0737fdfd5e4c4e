"""Links and tracks of cells whose parents are known."""

from __future__ import annotations

import numpy as np
import pytest

from bigcp3d.pure.lineage.links import APPEAR, DIVISION, OVERLAP, PlacedCells, link_cells
from bigcp3d.pure.lineage.tracks import number_tracks
from bigcp3d.pure.score.overlaps import Overlaps, between_cells, count_overlaps
from tests.moving_tissue import DIAMETER, edge_f1, move_tissue

pytest.importorskip("ortools", reason="bigcp3d[lineage] is not installed")
NOTHING = Overlaps(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64))


def place(labels) -> PlacedCells:
    ids, inverse, count = np.unique(labels[labels > 0], return_inverse=True, return_counts=True)
    where = np.argwhere(labels > 0)
    centre = np.stack([np.bincount(inverse, where[:, a]) / count for a in range(3)], axis=1)
    return PlacedCells(ids.astype(np.uint64), centre, count)


def at(*centres, voxels=100) -> PlacedCells:
    n = len(centres)
    return PlacedCells(
        np.arange(1, n + 1, dtype=np.uint64), np.reshape(centres, (n, 3)).astype(float), np.full(n, voxels)
    )


def shared(one, other) -> Overlaps:
    return between_cells(count_overlaps(one, other))


@pytest.mark.parametrize(("motion", "least"), [(0.1, 0.98), (0.5, 0.95)])
def test_cells_that_move_together_keep_their_links(motion, least):
    """At half a diameter a time point, the nearest cell is often another one."""
    tissue = move_tissue(150, 3, motion)
    pairs = list(zip(tissue.labels, tissue.labels[1:], strict=False))
    links = [link_cells(place(a), place(b), shared(a, b), diameter=DIAMETER, reach=DIAMETER) for a, b in pairs]
    assert edge_f1(links, tissue) > least
    if motion > 0.4:  # the control: without the motion of the neighbours, links are worse
        nearest = [
            np.stack([np.argmin(np.linalg.norm(place(a).centre - c, axis=1)) for c in place(b).centre])
            for a, b in pairs
        ]
        assert edge_f1([np.stack([near, np.arange(len(near))], 1) for near in nearest], tissue) < least


def test_the_total_cost_is_least():
    """All choices for three parents and four daughters, tried one by one."""
    rng = np.random.default_rng(3)
    before, after = at(*rng.uniform(0, 12, (3, 3))), at(*rng.uniform(0, 12, (4, 3)))
    cost = (np.linalg.norm(before.centre[:, None] - after.centre, axis=2) / 10) ** 2 + OVERLAP

    def total(parents) -> float:
        linked = [(p, d) for d, p in enumerate(parents) if p >= 0]
        more = np.bincount([p for p, _ in linked], minlength=3)
        if more.max() > 2:
            return np.inf
        return sum(cost[p, d] for p, d in linked) + DIVISION * (more == 2).sum() + APPEAR * (4 - len(linked))

    best = min(np.ndindex(4, 4, 4, 4), key=lambda choice: total([c - 1 for c in choice]))
    import bigcp3d.pure.lineage.links as module

    parent, daughter = np.divmod(np.arange(12), 4)
    order = np.lexsort((parent, daughter))
    found = module._cheapest(parent[order], daughter[order], cost[parent, daughter][order], 3, 4, True)
    assert [tuple(one) for one in found] == [(c - 1, d) for d, c in enumerate(best) if c]


def test_a_cell_may_divide_or_not():
    before, after = at((0, 0, 0)), at((0, 0, 4), (0, 0, -4))
    both = link_cells(before, after, NOTHING, diameter=10.0, reach=10.0)
    assert both.tolist() == [[0, 0], [0, 1]]
    assert len(link_cells(before, after, NOTHING, diameter=10.0, reach=10.0, divisions=False)) == 1


def test_cells_at_the_same_place_are_linked_and_far_ones_are_not():
    assert link_cells(at((1, 1, 1)), at((1, 1, 1)), NOTHING, diameter=5.0, reach=5.0).tolist() == [[0, 0]]
    assert link_cells(at((1, 1, 1)), at((1, 1, 20)), NOTHING, diameter=5.0, reach=5.0).size == 0
    assert link_cells(
        at((1, 1, 1)), PlacedCells(*(a[:0] for a in vars(at((1, 1, 1))).values())), NOTHING, diameter=5.0, reach=5.0
    ).shape == (0, 2)


def test_tracks_end_where_a_cell_divides():
    links = [np.array([[0, 0], [1, 1], [1, 2]]), np.array([[0, 1], [2, 0]])]
    tracks = number_tracks([2, 3, 3], links)
    assert [one.tolist() for one in tracks.of_cells] == [[1, 2], [1, 3, 4], [4, 1, 5]]
    assert tracks.parents.tolist() == [0, 0, 0, 2, 2, 0]
    assert (len(tracks), tracks.divisions) == (5, 1)
