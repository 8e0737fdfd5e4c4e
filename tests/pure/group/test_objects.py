"""Objects' statistics against numpy and scikit-image; filters and ids on whole cells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from bigcp3d.pure.group.objects import (
    Filters,
    centroids,
    covariances,
    dense_ids,
    elongations,
    flow_errors,
    keep_objects,
    mean_foreground,
    mean_intensity,
    squared_flow_error,
)
from bigcp3d.pure.track.sinks import INTENSITY_UNIT, PRODUCTS, Sums

quick = settings(deadline=None, max_examples=30)
seeds = st.integers(0, 2**32 - 1)


def sums_of(voxel: NDArray[np.int64], group: NDArray[np.int64], n: int) -> Sums:
    """Sums over voxels by object, the plain way; a voxel's intensity is its z, its foreground 100."""
    columns = {
        "count": np.ones(len(voxel), np.int64),
        "foreground": np.full(len(voxel), 100),
        "intensity": voxel[:, 0] * INTENSITY_UNIT,
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


def test_mean_foreground_and_intensity_are_means_over_voxels() -> None:
    voxel, group, n = blobs(4)
    sums = sums_of(voxel, group, n)
    assert np.allclose(mean_foreground(sums), 100 / 127)
    means = [200 + 50 * voxel[group == i, 0].mean() for i in range(n)]
    assert np.allclose(mean_intensity(sums, 200, 250), means)


def test_objects_without_voxels_give_numbers_and_are_never_kept() -> None:
    nothing = Sums.empty(2)
    for values in (centroids(nothing), elongations(nothing), mean_foreground(nothing), mean_intensity(nothing, 0, 1)):
        assert np.isfinite(values).all()
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
    voxel = np.argwhere(np.ones((2, 2, 2)))
    sums = sums_of(voxel, np.zeros(8, int), 1)
    assert keep_objects(sums, Filters(min_volume_vox=8, max_volume_vox=8))[0].all()
    assert not keep_objects(sums, Filters(min_volume_vox=8.01))[0].any()


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
