"""A digest of cells equals what is found on all rows at once, whatever the parts; and odd cells are found."""

import itertools

import numpy as np
import pytest

import bigcp3d.pure.cells.cell_summary as cell_summary
from bigcp3d.pure.cells.cell_summary import CellRows, summarise_cells
from bigcp3d.pure.cells.review_order import doubts
from bigcp3d.pure.group.objects import ellipsoid_fill
from bigcp3d.pure.track.sinks import Sums


def make_rows(n: int, seed: int = 0, **columns) -> CellRows:
    """Random cells."""
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 50, (n, 3))
    given = {
        "time": np.zeros(n, np.int64),
        "ids": np.arange(1, n + 1),
        "volume": rng.integers(5, 5000, n),
        "low": low,
        "high": low + rng.integers(1, 20, (n, 3)),
        "elongation": 1 + rng.random(n),
        "fill": 0.9 + 0.1 * rng.random(n),
        "foreground": np.full(n, np.nan),
        "border": rng.random(n) < 0.2,
    }
    return CellRows(**{**given, **columns})


def in_parts(rows: CellRows, *cuts: int):
    """The rows in parts."""
    edges = [0, *cuts, len(rows)]
    return lambda: (rows.take(slice(a, b)) for a, b in itertools.pairwise(edges))


@pytest.mark.parametrize("cuts", [(), (1,), (100, 100, 299), (7, 250)])
def test_a_digest_equals_that_of_all_rows_at_once(cuts):
    rows = make_rows(300)
    found = summarise_cells(in_parts(rows, *cuts))
    order = np.argsort(rows.volume, kind="stable")
    assert (found.cells, found.voxels, found.border) == (300, rows.volume.sum(), rows.border.sum())
    assert found.median["volume"] == np.median(rows.volume)
    assert np.isnan(found.median["foreground"])
    assert found.smallest.ids.tolist() == rows.ids[order[:10]].tolist()
    assert sorted(found.largest.volume.tolist()) == sorted(rows.volume[order[-10:]].tolist())
    assert found.counts.sum() == 300
    for low, high, count in zip(found.edges[:-1], found.edges[1:], found.counts, strict=True):
        assert count == np.count_nonzero((rows.volume >= low) & (rows.volume < high))


def test_the_odd_cell_is_the_oddest_and_says_why():
    rows = make_rows(200, border=np.zeros(200, bool), foreground=np.full(200, 0.95))
    rows.elongation[17], rows.fill[42], rows.foreground[99] = 30.0, 0.2, 0.3
    found = summarise_cells(in_parts(rows, 50))
    named = dict(zip(found.oddest.ids.tolist(), found.why, strict=True))
    assert {18: "elongation", 43: "fill", 100: "foreground"}.items() <= named.items()
    assert set(found.oddest.ids[:3].tolist()) == {18, 43, 100}
    rows.border[17] = True  # the control: a cell that the border cuts is no odd cell, however long it looks
    assert 18 not in summarise_cells(in_parts(rows)).oddest.ids


def test_the_report_and_the_review_order_odd_cells_alike():
    alike = {"elongation": np.full(40, 1.2), "fill": np.full(40, 0.9), "foreground": np.full(40, 0.95)}
    rows = make_rows(40, border=np.zeros(40, bool), **alike)
    rows.elongation[17], rows.fill[22], rows.foreground[9] = 1.2 * np.exp(0.05), 0.86, 0.92
    score, why = doubts({name: getattr(rows, name) for name in alike}, rows.border)
    order = np.argsort(-score, kind="stable")[:3]
    found = summarise_cells(in_parts(rows, 20))
    assert order.tolist() == [22, 9, 17]
    assert found.oddest.ids[:3].tolist() == rows.ids[order].tolist()
    assert [f"small {found.why[0]}", f"small {found.why[1]}", f"large {found.why[2]}"] == [why[k] for k in order]


def test_typical_values_of_very_many_cells_come_from_an_even_choice(monkeypatch):
    monkeypatch.setattr(cell_summary, "SAMPLE", 64)
    rows = make_rows(5000, volume=np.arange(1, 5001))
    found = summarise_cells(in_parts(rows, *range(100, 5000, 100)))
    assert found.median["volume"] == pytest.approx(2500, rel=0.05)
    assert found.counts.sum() == 5000  # counts and choices are of all
    assert found.largest.volume.tolist() == list(range(5000, 4990, -1))


def test_no_cells_and_one_cell():
    none = summarise_cells(lambda: iter([]))
    assert (none.cells, len(none.largest), len(none.oddest)) == (0, 0, 0)
    one = summarise_cells(in_parts(make_rows(1, volume=np.array([7]))))
    assert (one.cells, one.counts.sum(), one.median["volume"]) == (1, 1, 7)


def sums_of(voxels: np.ndarray) -> Sums:
    """Sums of one thing made of these voxels."""
    pairs = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    total = Sums.empty(1)
    total.count[0], total.coordinates[0] = len(voxels), voxels.sum(axis=0)
    total.products[0] = [(voxels[:, a] * voxels[:, b]).sum() for a, b in pairs]
    total.low[0], total.high[0] = voxels.min(axis=0), voxels.max(axis=0) + 1
    return total


def test_a_ball_fills_its_ellipsoid_a_box_less_and_two_balls_little():
    grid = np.stack(np.meshgrid(*[np.arange(60)] * 3, indexing="ij"), axis=-1)
    ball = np.argwhere(((grid - [15, 15, 15]) ** 2).sum(-1) < 12**2)
    stretched = np.argwhere((((grid - [15, 15, 30]) / [1, 1, 2]) ** 2).sum(-1) < 12**2)
    box = np.argwhere(np.ones((20, 10, 30)))
    two = np.concatenate([ball, ball + np.array([0, 0, 30])])
    fills = [float(ellipsoid_fill(sums_of(voxels))[0]) for voxels in (ball, stretched, box, two)]
    assert fills[:3] == pytest.approx([1, 1, 0.8876], abs=0.01)
    assert fills[3] < 0.7
