"""Cells at seams: counts equal those made on the voxels, and a cell cut by a plane is seen to end flat."""

import numpy as np
import pytest

import bigcp3d.pure.cells.seam_cells as seam_cells
from bigcp3d.pure.cells.seam_cells import Planes, count_crossings, flatness, seam_planes
from bigcp3d.pure.grid import nearest_working, working_shape
from tests.pure.cells.test_cell_summary import in_parts, make_rows


@pytest.mark.parametrize("factor", [1.0, 1.2, 0.6, 2.5])
def test_seams_lie_where_voxels_of_the_label_image_come_from_another_block(factor):
    shape, block = (61, 50, 40), (13, 50, 17)
    factors = (factor, 1.0, 1.0)
    working = working_shape(shape, factors)
    seams, halfway = seam_planes(working, block, factors, shape)
    blocks = nearest_working(0, shape[0], factor, working[0]) // block[0]
    assert seams[0].at == tuple((np.flatnonzero(np.diff(blocks)) + 1).tolist())
    assert seams[1].at == ()
    assert seams[2].at == (17, 34)
    assert halfway[2].at == (9, 26)


def test_crossings_and_ends_equal_a_count_plane_by_plane():
    rows, planes = make_rows(500), Planes(1, (5, 20, 33, 64))
    (found,) = count_crossings(in_parts(rows, 10, 300), [planes])
    low, high = rows.low[:, 1], rows.high[:, 1]
    assert found.cells.tolist() == [np.count_nonzero((low < p) & (high > p)) for p in planes.at]
    thick = high - low >= seam_cells.LEAST_LAYERS
    ends = [(i, low[i]) for i in range(500) if thick[i] and low[i] in planes.at]
    ends += [(i, high[i] - 1) for i in range(500) if thick[i] and high[i] in planes.at]
    assert found.ends == len(ends)
    assert sorted(zip((found.rows.ids - 1).tolist(), found.last.tolist(), strict=True)) == sorted(ends)


def test_very_many_ends_are_counted_and_some_are_kept(monkeypatch):
    monkeypatch.setattr(seam_cells, "KEEP", 20)
    low = np.tile([[10, 0, 0]], (500, 1))
    rows = make_rows(500, low=low, high=low + 8)
    (found,) = count_crossings(in_parts(rows, 100, 200), [Planes(0, (10,))])
    assert found.ends == 500
    assert 5 <= len(found.rows) <= 20
    assert len(found.last) == len(found.rows)


def test_half_a_ball_ends_flat_where_it_was_cut_and_a_whole_one_does_not():
    grid = np.indices((30, 30, 30))
    ball = ((grid - 14.5) ** 2).sum(axis=0) < 10**2
    whole = flatness(int(ball[5].sum()), int(ball.sum()), 20)
    half = ball[5:15]
    cut = flatness(int(half[-1].sum()), int(half.sum()), 10)
    assert whole < 0.4 < seam_cells.FLAT < cut
