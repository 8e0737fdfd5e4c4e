"""Objects' statistics against numpy and scikit-image; filters and ids on whole cells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from bigcp3d.pure.group.filters import Filters
from bigcp3d.pure.group.objects import (
    centroids,
    covariances,
    dense_ids,
    ellipsoid_fill,
    elongations,
    flow_errors,
    keep_objects,
    mean_foreground,
    squared_flow_error,
)
from bigcp3d.pure.track.sinks import PRODUCTS, Sums

quick = settings(deadline=None, max_examples=30)
seeds = st.integers(0, 2**32 - 1)


def sums_of(voxel: NDArray[np.int64], group: NDArray[np.int64], n: int) -> Sums:
    """Sums over voxels by object, the plain way; a voxel's foreground is 100."""
    columns = {
        "count": np.ones(len(voxel), np.int64),
        "foreground": np.full(len(voxel), 100),
        "first": (voxel * [10**12, 10**6, 1]).sum(axis=1),
        "coordinates": voxel,
        "products": np.stack([voxel[:, a] * voxel[:, b] for a, b in PRODUCTS], axis=1),
        "low": voxel,
        "high": voxel + 1,
        "image_vox": np.ones(len(voxel), np.int64),
    }
    return Sums.from_arrays(columns).group(group, n)


def blobs(seed: int, offset: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Voxels of random ellipsoids, and which each belongs to."""
    rng = np.random.default_rng(seed)
    grid = np.argwhere(np.ones((13, 13, 13), bool))
    parts = [grid[(((grid - 6) / rng.uniform(1, 6, 3)) ** 2).sum(axis=1) <= 1] + 20 * i for i in range(5)]
    return np.concatenate(parts) + offset, np.repeat(np.arange(5), [len(p) for p in parts]), 5


@quick
@given(seeds, st.sampled_from([0, 1000, 10**6]))
def test_centroids_and_covariances_are_numpy_s(seed: int, offset: int) -> None:
    voxel, group, n = blobs(seed, offset)
    sums = sums_of(voxel, group, n)
    for i in range(n):
        mine = voxel[group == i]
        assert np.allclose(centroids(sums)[i] - offset, (mine - offset).mean(axis=0), atol=1e-8)
        truth = np.cov((mine - offset).T, bias=True) + np.eye(3) / 12
        assert np.allclose(covariances(sums)[i], truth, rtol=1e-10, atol=1e-10)


def test_control_uncentred_products_in_float64_lose_the_covariance_of_a_far_cell() -> None:
    voxel, group, n = blobs(1, 10**6)
    s = sums_of(voxel, group, n)
    naive = s.products[:, 0] / s.count - (s.coordinates[:, 0] / s.count) ** 2 + 1 / 12
    assert not np.allclose(naive, covariances(s)[:, 0, 0], rtol=1e-6, atol=0)


@quick
@given(seeds)
def test_elongations_are_scikit_image_s_axes(seed: int) -> None:
    voxel, group, n = blobs(seed)
    image = np.zeros((13 + 20 * 5,) * 3, np.uint8)[:94, :94, :94]
    image[tuple(voxel.T)] = 1 + group
    found = elongations(sums_of(voxel, group, n))
    for region in regionprops(image):
        moments = np.sort(region.inertia_tensor_eigvals)
        variances = np.sort(moments.sum() / 2 - moments) + 1 / 12  # a voxel counts as a cube
        assert np.isclose(found[region.label - 1], np.sqrt(variances[2] / variances[0]), rtol=1e-9)


def test_elongation_knows_balls_rods_sheets_and_single_voxels() -> None:
    shapes = [(1, 1, 1), (4, 4, 4), (1, 1, 10), (6, 6, 1), (2, 3, 6)]
    voxel = np.concatenate([np.argwhere(np.ones(s)) + 50 * i for i, s in enumerate(shapes)])
    group = np.repeat(np.arange(5), [int(np.prod(s)) for s in shapes])
    assert np.allclose(elongations(sums_of(voxel, group, 5)), [1, 1, 10, 6, 3])
    assert len(elongations(Sums.empty(0))) == 0


def test_elongation_and_its_filter_know_the_size_of_voxels() -> None:
    """A rod of 10 planes of 2 um is 20 um long, and a tower of 4 voxels may be a ball."""
    shapes = [(10, 1, 1), (2, 8, 8)]
    voxel = np.concatenate([np.argwhere(np.ones(s)) + 50 * i for i, s in enumerate(shapes)])
    sums = sums_of(voxel, np.repeat(np.arange(2), [10, 128]), 2)
    assert np.allclose(elongations(sums, (2.0, 0.5, 0.5)), [40, 1])
    assert keep_objects(sums, Filters(max_elongation=3), voxel=(2.0, 0.5, 0.5))[0].tolist() == [False, True]
    assert keep_objects(sums, Filters(max_elongation=3))[0].tolist() == [False, False], "cubes"


def test_ellipsoid_fill_is_one_for_a_ball_and_less_for_a_box_and_for_two_cells_in_one() -> None:
    grid = np.argwhere(np.ones((31, 31, 31))) - 15
    ball = grid[(grid**2).sum(axis=1) <= 15**2]
    box = np.argwhere(np.ones((10, 20, 30)))
    parts = [ball, ball * [1, 1, 2], box, np.concatenate([ball, ball + np.array([0, 0, 40])])]
    parts[1] = np.concatenate([parts[1], parts[1] + [0, 0, 1]])  # the ball, twice as long
    group = np.repeat(np.arange(4), [len(p) for p in parts])
    fill = ellipsoid_fill(sums_of(np.concatenate(parts) + 50, group, 4))
    assert fill[:2] == pytest.approx([1, 1], abs=0.01)
    assert fill[2] == pytest.approx(12**1.5 / (4 / 3 * np.pi * 5**1.5), rel=1e-9)  # a box of any sides
    assert fill[3] < 0.9
    assert len(ellipsoid_fill(Sums.empty(0))) == 0


def test_mean_foreground_is_the_mean_over_voxels() -> None:
    voxel, group, n = blobs(4)
    sums = sums_of(voxel, group, n)
    assert np.allclose(mean_foreground(sums), 100 / 127)


def test_objects_without_voxels_give_numbers_and_are_never_kept() -> None:
    nothing = Sums.empty(2)
    for values in (centroids(nothing), elongations(nothing), mean_foreground(nothing)):
        assert np.isfinite(values).all()
    assert np.array_equal(covariances(nothing), np.stack([np.eye(3) / 12] * 2))
    assert flow_errors(np.zeros(2, np.int64), nothing).tolist() == [0, 0]
    assert not keep_objects(nothing, Filters())[0].any()


def test_each_filter_removes_what_it_names_and_is_counted_once() -> None:
    shapes = [(2, 2, 2), (4, 4, 4), (1, 1, 20), (9, 9, 9), (3, 3, 3)]
    voxel = np.concatenate([np.argwhere(np.ones(s)) + 50 * i for i, s in enumerate(shapes)])
    group = np.repeat(np.arange(5), [int(np.prod(s)) for s in shapes])
    sums = sums_of(voxel, group, 5)
    sums.foreground[4] = sums.count[4] * 10
    squares = sums.count * 127**2 * np.array([9, 1, 9, 9, 9])
    assert np.allclose(flow_errors(squares, sums), [9, 1, 9, 9, 9])
    assert keep_objects(sums, Filters())[0].all()
    keep, removed = keep_objects(sums, Filters(9, 500, 0.5, 3, 2), squares)
    assert keep.tolist() == [False, True, False, False, False]
    assert removed == {"too small": 1, "too large": 1, "weak foreground": 1, "too long": 1, "flow error": 0}
    assert keep_objects(sums, Filters(max_flow_error=1), squares)[1] == {"flow error": 4}


def test_limits_are_inclusive() -> None:
    voxel = np.argwhere(np.ones((2, 2, 3)))
    sums = sums_of(voxel, np.zeros(12, int), 1)
    squares = np.array([12 * 127**2 * 3])
    limits = {
        "min_volume_vox": 12.0,
        "max_volume_vox": 12.0,
        "min_foreground": mean_foreground(sums)[0],
        "max_elongation": elongations(sums)[0],
        "max_flow_error": flow_errors(squares, sums)[0],
    }
    assert keep_objects(sums, Filters(**limits), squares)[0].all()
    for name, limit in limits.items():  # control: the next number beyond
        beyond = np.nextafter(limit, np.inf if name.startswith("min") else -np.inf)
        assert not keep_objects(sums, Filters(**{name: beyond}), squares)[0].any()


def test_a_single_voxel_has_its_own_place_extent_foreground_and_error() -> None:
    sums = sums_of(np.array([[3, 70, 500]]), np.zeros(1, int), 1)
    assert centroids(sums).tolist() == [[3, 70, 500]]
    assert np.array_equal(covariances(sums)[0], np.eye(3) / 12)
    assert mean_foreground(sums)[0] == 100 / 127
    assert flow_errors(np.array([127**2]), sums)[0] == 1
    assert ellipsoid_fill(sums)[0] == pytest.approx(12**1.5 / (4 / 3 * np.pi * 5**1.5), rel=1e-9)  # that of any box
    assert keep_objects(sums, Filters())[0].all()


def test_only_objects_that_are_looked_at_are_kept_or_counted_as_removed() -> None:
    voxel = np.argwhere(np.ones((2, 2, 2)))
    sums = sums_of(np.concatenate([voxel, voxel + 9, voxel[:1] + 20]), np.repeat([0, 1, 2], [8, 8, 1]), 3)
    keep, removed = keep_objects(sums, Filters(min_volume_vox=2), among=np.array([True, False, False]))
    assert keep.tolist() == [True, False, False]
    assert removed == {"too small": 0}


def test_the_flow_error_filter_without_its_sums_is_refused() -> None:
    with pytest.raises(ValueError, match="check"):
        keep_objects(Sums.empty(1), Filters(max_flow_error=1))


@quick
@given(seeds)
def test_ids_are_dense_in_the_order_of_first_voxels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = label(rng.random((5, 6, 7)) < 0.3)
    n = int(labels.max())
    shuffled = np.concatenate([[0], rng.permutation(n) + 1])[labels]
    sums = Sums.empty(n)
    flat = shuffled.ravel() - 1
    np.minimum.at(sums.first, flat[flat >= 0], np.flatnonzero(flat >= 0))
    keep = rng.random(n) < 0.7
    ids = dense_ids(sums, keep)
    out = np.concatenate([[0], ids])[shuffled]
    seen = list(dict.fromkeys(int(v) for v in out.ravel() if v))  # in raster order of first sight
    assert seen == list(range(1, int(keep.sum()) + 1))
    assert (ids[~keep] == 0).all()


@pytest.mark.parametrize("representation", ["tanh", "heat"])
def test_flow_errors_are_those_of_the_definition_and_zero_for_the_target(representation: str) -> None:
    voxel, group, n = blobs(3)
    centre = np.stack([voxel[group == i].mean(axis=0) for i in range(n)])
    way = centre[group] - voxel
    target = np.tanh(way / 4) if representation == "tanh" else way / np.linalg.norm(way, axis=1).clip(1e-9)[:, None]
    settings_ = {"representation": representation, "scale_vox": 4.0}
    exact = np.rint(127 * target).T.astype(np.int8)
    assert (squared_flow_error(exact, group, centre, voxel, **settings_) == 0).all()
    flow = np.random.default_rng(0).integers(-127, 128, exact.shape).astype(np.int8)
    squares = squared_flow_error(flow, group, centre, voxel, **settings_)
    for i in range(n):
        truth = ((flow.T[group == i] / 127 - target[group == i]) ** 2).sum(axis=1).mean()
        assert np.isclose(flow_errors(squares, sums_of(voxel, group, n))[i], truth, atol=0.02)
    assert (squared_flow_error(-exact, group, centre, voxel, **settings_) > 0).all()  # control: the other sign


def test_close_to_the_centre_the_straight_flow_of_heat_is_a_unit_vector() -> None:
    voxel, centre = np.array([[4, 4, 4], [5, 4, 4]]), np.array([[4.25, 4, 4]])
    flow = np.array([[127, 0, 0], [-127, 0, 0]], np.int8).T
    index = np.zeros(2, np.int64)
    settings_ = {"representation": "heat", "scale_vox": 4.0}
    assert squared_flow_error(flow, index, centre, voxel, **settings_).tolist() == [0]
    assert squared_flow_error(-flow, index, centre, voxel, **settings_).tolist() == [2 * 254**2]


@pytest.mark.parametrize("representation", ["tanh", "heat"])
def test_flow_errors_add_up_exactly_however_the_voxels_are_dealt_out(representation: str) -> None:
    voxel, group, n = blobs(6)
    rng = np.random.default_rng(1)
    centre = np.stack([voxel[group == i].mean(axis=0) for i in range(n)])
    flow = rng.integers(-127, 128, (3, len(voxel))).astype(np.int8)
    settings_ = {"representation": representation, "scale_vox": 5.0}
    whole = squared_flow_error(flow, group, centre, voxel, **settings_)
    cuts = np.split(rng.permutation(len(voxel)), np.sort(rng.integers(0, len(voxel), 40)))
    parts = [squared_flow_error(flow[:, c], group[c], centre, voxel[c], **settings_) for c in cuts]
    assert np.array_equal(sum(parts), whole)
