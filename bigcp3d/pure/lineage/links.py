"""Links the cells of a time point with those of the next.

A cell of the next time point has one parent or none, and a parent has up to two daughters. Of all such choices, the
one of least total cost is taken::

    link             (distance / diameter)^2 + (1 - shared voxels / voxels of the smaller cell) / 2
    second daughter  `DIVISION` more
    no parent        `APPEAR`

This is a flow of least cost through a network (parents -> daughters), which OR-tools solves exactly, in whole numbers.
So the answer depends on the cells alone: not on blocks, workers or rounding.

Tissue moves together. So cells are linked, each parent is moved by the median way of the parents near it, and all are
linked again, until no link changes. Distances are then those to the place where the cell is expected.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.spatial import KDTree

from bigcp3d.pure.score.overlaps import Overlaps

Links = NDArray[np.int64]
"""Shape (n, 2): rows of parents and daughters, sorted by daughter."""

OVERLAP, DIVISION, APPEAR = 0.5, 0.6, 1.5
"""Costs, chosen on simulated tissues that move, divide, and are cut apart wrongly (tests/benchmarks/linking.py)."""
UNIT = 10_000
"""Costs are counted in units of 1/10,000."""
ROUNDS, NEAR = 10, 20
"""Most rounds of moving and linking, and how many neighbours say how a cell moves."""
FIRST_REACH = 1.5
"""In the first round, how many times as far as later a parent may lie, since the motion is not known yet."""


@dataclass(frozen=True, eq=False)
class PlacedCells:
    """Cells of a time point, sorted by id: ids (n,), centres (n, 3) in any unit of length, and voxels (n,)."""

    ids: NDArray[np.uint64]
    centre: NDArray[np.float64]
    voxels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


def link_cells(
    before: PlacedCells, after: PlacedCells, shared: Overlaps, *, diameter: float, reach: float, divisions: bool = True
) -> Links:
    """Link cells of two time points.

    Parameters
    ----------
    before, after : PlacedCells
    shared : Overlaps
        Voxels that cells of both time points share: ``pred`` before, ``truth`` after; no background.
    diameter, reach : float
        Of a cell, and the largest distance of a link, in the unit of the centres.
    divisions : bool
        Whether a parent may have two daughters.

    Returns
    -------
    ndarray of int64, shape (n, 2)
    """
    moved, links = before.centre, np.empty((0, 2), np.int64)
    if not len(before) or not len(after):
        return links
    common = shared_voxels(before, after, shared)
    for number in range(ROUNDS):
        far = reach * FIRST_REACH if number == 0 else reach
        near = KDTree(moved).sparse_distance_matrix(KDTree(after.centre), far, output_type="coo_matrix")
        parent, daughter, distance = _sorted(near.row, near.col, near.data)
        if not len(distance):
            return links[:0]
        smaller = np.minimum(before.voxels[parent], after.voxels[daughter])
        cost = (distance / diameter) ** 2 + OVERLAP * (1 - np.asarray(common[parent, daughter]) / smaller)
        found = _cheapest(parent, daughter, cost, len(before), len(after), divisions)
        if number and np.array_equal(found, links):
            break
        links = found
        moved = before.centre + _local_motion(before.centre, after.centre, links)
    return links


def _sorted(
    parent: NDArray[np.integer], daughter: NDArray[np.integer], distance: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs in the order of daughters, then parents, so that ties do not depend on the search tree."""
    order = np.lexsort((parent, daughter))
    return parent[order].astype(np.int64), daughter[order].astype(np.int64), distance[order]


def shared_voxels(before: PlacedCells, after: PlacedCells, shared: Overlaps) -> csr_array:
    """Voxels that two cells share, int64, shape (rows before, rows after); without background in ``shared``."""
    row, col = np.searchsorted(before.ids, shared.pred), np.searchsorted(after.ids, shared.truth)
    return coo_array((shared.count, (row, col)), shape=(len(before), len(after))).tocsr()


def _local_motion(before: NDArray[np.float64], after: NDArray[np.float64], links: Links) -> NDArray[np.float64] | float:
    """The median way of the `NEAR` nearest parents with one daughter, for each cell before, shape (n, 3)."""
    daughters = np.bincount(links[:, 0], minlength=len(before))
    parent, daughter = links[daughters[links[:, 0]] == 1].T
    if not len(parent):
        return 0.0
    _, near = KDTree(before[parent]).query(before, k=np.arange(1, min(NEAR, len(parent)) + 1))
    way: NDArray[np.float64] = np.median((after[daughter] - before[parent])[near], axis=1)
    return way


def _cheapest(
    parent: NDArray[np.int64], daughter: NDArray[np.int64], cost: NDArray[np.float64], n: int, m: int, divisions: bool
) -> Links:
    """The links of least total cost, of pairs with a cost each; ``n`` cells before and ``m`` after.

    Each daughter takes one unit of flow. It comes from a parent, or from the source at the cost of appearing. A parent
    gets one unit for nothing, and a second one at the cost of a division.
    """
    from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

    source, parents, daughters = n + m, np.arange(n), n + np.arange(m)
    second = parents if divisions else parents[:0]
    tail = np.concatenate([parent, np.full(n + len(second) + m, source)])
    head = np.concatenate([n + daughter, parents, second, daughters])
    price = np.concatenate([cost, np.zeros(n), np.full(len(second), DIVISION), np.full(m, APPEAR)])
    network = SimpleMinCostFlow()
    arcs = network.add_arcs_with_capacity_and_unit_cost(
        tail, head, np.ones(len(tail), np.int64), np.rint(price * UNIT).astype(np.int64)
    )
    wanted = np.concatenate([np.zeros(n, np.int64), np.full(m, -1), [m]])
    network.set_nodes_supplies(np.arange(n + m + 1), wanted)
    if (status := network.solve()) != network.OPTIMAL:
        raise RuntimeError(f"the links could not be computed: {status}")
    taken = network.flows(arcs[: len(parent)]) > 0
    return np.stack([parent[taken], daughter[taken]], axis=1)
