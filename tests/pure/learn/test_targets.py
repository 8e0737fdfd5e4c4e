"""Flow targets equal a slow reference that takes one cell at a time, and lead every voxel to its centre."""

import numpy as np
import pytest

from bigcp3d.pure.learn.targets import MOST_WEIGHT, dense_labels, heat_flow, size_weights, tanh_flow


def balls(shape=(18, 24, 26), ids=(3, 70000, 9)):
    """Three cells, two of which touch, one cut by the border; ids not dense."""
    z, y, x = np.indices(shape)
    labels = np.zeros(shape, np.uint32)
    for key, centre, radii in zip(
        ids, [(8, 8, 7), (9, 8, 15), (15, 19, 20)], [(6, 6, 5), (4, 7, 5), (5, 4, 5)], strict=True
    ):
        inside = sum(((p - c) / r) ** 2 for p, c, r in zip((z, y, x), centre, radii, strict=True)) <= 1
        labels[inside & (labels == 0)] = key
    return labels


def reference_tanh(labels, scale):
    flow = np.zeros((3, *labels.shape))
    for key in np.unique(labels[labels > 0]):
        points = np.argwhere(labels == key)
        flow[(slice(None), *points.T)] = -np.tanh((points - points.mean(axis=0)) / scale).T
    return flow


def reference_heat(labels):
    """Each cell alone on a padded grid, with plain array shifts; all cells for as many steps as the largest needs."""
    flow = np.zeros((3, *labels.shape))
    keys = np.unique(labels[labels > 0])
    steps = 2 * max(int(np.ptp(np.argwhere(labels == k), axis=0).sum() + 3) for k in keys)
    for key in keys:
        mask = np.pad(labels == key, 1)
        points = np.argwhere(mask)
        centre = points[np.square(points - points.mean(axis=0)).sum(axis=1).argmin()]
        heat = np.zeros(mask.shape)
        for _ in range(steps):
            heat[tuple(centre)] += 1
            beside = sum(np.roll(heat, s, axis=a) for a in range(3) for s in (-1, 1))
            heat = np.where(mask, (heat + beside) / 7, 0)
        rise = np.log1p(heat)
        gradient = np.stack([np.roll(rise, -1, axis=a) - np.roll(rise, 1, axis=a) for a in range(3)]) * mask
        unit = gradient / np.maximum(np.linalg.norm(gradient, axis=0), 1e-300)
        flow += unit[:, 1:-1, 1:-1, 1:-1]
    return flow


def test_tanh_flow_equals_a_reference_of_one_cell_at_a_time():
    labels = balls()
    flow = tanh_flow(labels, 3.0)
    assert flow.dtype == np.float32
    np.testing.assert_allclose(flow, reference_tanh(labels, 3.0), atol=1e-5)
    assert np.abs(flow - reference_tanh(labels, 2.0)).max() > 0.1


def test_heat_flow_equals_a_reference_of_one_cell_at_a_time():
    labels = balls()
    flow, expected = heat_flow(labels), reference_heat(labels)
    clear = np.linalg.norm(expected, axis=0) > 0.5  # elsewhere the gradient is nothing but rounding
    np.testing.assert_allclose(flow[:, clear], expected[:, clear], atol=1e-4)
    length = np.linalg.norm(flow, axis=0)[labels > 0]
    assert (np.abs(length - 1) < 1e-5).mean() > 0.99


@pytest.mark.parametrize("make", [lambda a: tanh_flow(a, 3.0), heat_flow])
def test_background_has_no_flow_and_names_do_not_matter(make):
    labels = balls()
    flow = make(labels)
    assert not flow[:, labels == 0].any()
    assert np.array_equal(flow, make(balls(ids=(2**32 - 1, 5, 6))))
    assert not make(np.zeros_like(labels)).any()


@pytest.mark.parametrize("make", [lambda a: tanh_flow(a, 3.0), heat_flow])
def test_the_flow_leads_to_the_centre(make):
    labels = balls()
    flow = make(labels)
    for key in np.unique(labels[labels > 0]):
        points = np.argwhere(labels == key)
        away = points - points.mean(axis=0)
        far = np.linalg.norm(away, axis=1) > 2
        along = (flow[(slice(None), *points.T)].T * away).sum(axis=1)[far]
        assert (along < 0).mean() > 0.97


def test_heat_follows_a_bent_cell_where_the_straight_way_leaves_it():
    labels = np.zeros((5, 30, 30), int)
    labels[:, 2:6, 2:28], labels[:, 2:28, 2:6], labels[:, 24:28, 2:28] = 1, 1, 1  # a C; its centroid lies outside
    heat, straight = heat_flow(labels)[:, 2, 3, 26], tanh_flow(labels, 4.0)[:, 2, 3, 26]
    assert abs(heat[1]) < 0.3
    assert heat[2] < -0.8  # along the arm
    assert straight[1] > 0.9  # across the wall


def test_dense_labels_keep_the_order_of_ids():
    labels = np.array([[[0, 900, 17, 900, 2**40]]])
    dense, ids = dense_labels(labels)
    assert dense.tolist() == [[[0, 2, 1, 2, 3]]]
    assert ids.tolist() == [17, 900, 2**40]
    assert dense_labels(labels % 1000 % 900)[0].tolist() == [[[0, 0, 1, 0, 2]]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_dense_labels_of_any_dtype_keep_it(dtype):
    labels = np.array([[[0, 9, 3], [9, 9, 0]]], dtype)
    dense, ids = dense_labels(labels)
    assert dense.tolist() == [[[0, 2, 1], [2, 2, 0]]]
    assert (dense.dtype, ids.dtype, ids.tolist()) == (np.int32, dtype, [3, 9])
    nothing, none = dense_labels(np.zeros((0, 2, 2), dtype))
    assert nothing.shape == (0, 2, 2)
    assert none.size == 0


def test_small_cells_weigh_more_and_as_much_as_large_ones_where_balance_is_one():
    labels = np.zeros((10, 10, 20), np.int32)
    labels[:5, :5, :10], labels[5:, :5, :20], labels[9, 9, 19] = 7, 4, 2  # 250 and 500 voxels, and a crumb
    diameter = (500 * 6 / np.pi) ** (1 / 3)
    whole = size_weights(labels, diameter, 1.0)
    assert whole.dtype == np.float32
    assert whole[labels == 7].sum() == pytest.approx(whole[labels == 4].sum()) == pytest.approx(500)
    assert np.unique(whole[labels == 2]) == MOST_WEIGHT
    assert np.unique(whole[labels == 0]) == 1
    assert np.unique(size_weights(labels, diameter, 0.5)[labels == 7]) == pytest.approx(2**0.5)
    assert (size_weights(labels, diameter, 0.0) == 1).all()
    assert (size_weights(labels, diameter / 2, 1.0)[labels == 4] == 1).all()  # large cells are not weighed down
    part = (slice(0, 6), slice(2, 6), slice(8, 20))  # a cell's size is that of the whole of it
    assert np.array_equal(size_weights(labels, diameter, 0.7, part), size_weights(labels, diameter, 0.7)[part])
