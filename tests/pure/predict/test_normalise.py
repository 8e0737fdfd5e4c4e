"""One intensity range for a whole volume, from a sample that its shape alone decides."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.predict.normalise import SAMPLE_VOX, estimate_range, normalise_intensity, sample_boxes

CLIP = (-0.5, 2.5)
side = st.integers(1, 3000) | st.integers(1, 10**6)


def test_a_small_volume_is_its_own_sample():
    assert sample_boxes((51, 120, 130)) == (Box((0, 0, 0), (51, 120, 130)),)


@settings(deadline=None)
@given(st.tuples(side, side, side))
def test_samples_are_small_disjoint_and_inside(shape):
    boxes = sample_boxes(shape)
    assert 0 < sum(box.size for box in boxes) <= SAMPLE_VOX
    assert all(box.clip(shape) == box and not box.empty for box in boxes)
    for axis in range(3):  # a product of three axes: disjoint where starts lie a side apart
        starts = sorted({box.start[axis] for box in boxes})
        assert all(b - a >= boxes[0].shape[axis] for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize("shape", [(600, 600, 600), (30, 20000, 20000), (20000, 300, 300), (2000, 2000, 2000)])
def test_samples_of_large_volumes_are_spread_evenly_and_use_the_budget(shape):
    boxes = sample_boxes(shape)
    assert sum(box.size for box in boxes) > SAMPLE_VOX / 3
    for axis, length in enumerate(shape):
        middles = sorted({(box.start[axis] + box.stop[axis]) / 2 for box in boxes})
        assert np.mean(middles) == pytest.approx(length / 2, rel=0.02)
        gaps = np.diff(middles)
        assert gaps.size == 0 or np.ptp(gaps) <= 1


def test_the_range_is_that_of_percentiles_of_all_parts_together():
    parts = [np.arange(500, dtype=np.uint16), np.arange(500, 1001, dtype=np.uint16)]
    assert estimate_range(parts, 1, 99) == (10.0, 990.0)
    assert estimate_range(parts[:1], 1, 99) != estimate_range(parts, 1, 99)


def test_nan_and_infinities_do_not_move_the_range():
    values = np.arange(101, dtype=np.float32)
    spoiled = np.concatenate([values, [np.nan, np.inf, -np.inf]]).astype(np.float32)
    assert estimate_range([spoiled], 1, 99) == (1.0, 99.0)


def test_where_percentiles_coincide_the_extremes_count():
    image = np.zeros(10000, np.uint8)
    image[7] = 9
    assert estimate_range([image], 1, 99) == (0.0, 9.0)


@pytest.mark.parametrize("image", [np.full(9, 7, np.uint16), np.full(9, np.nan), np.zeros(0)])
def test_images_without_contrast_are_refused(image):
    with pytest.raises(InputError, match="--channel"):
        estimate_range([image], 1, 99)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64, np.float32, np.float64])
def test_low_becomes_zero_and_high_one(dtype):
    image = np.array([20, 10, 60, 110, 120], dtype)
    normal = normalise_intensity(image, 10.0, 110.0, CLIP)
    assert normal.dtype == np.float32
    np.testing.assert_allclose(normal, [0.1, 0, 0.5, 1, 1.1], rtol=1e-6)
    assert image[0] == 20  # the input stays


@pytest.mark.parametrize("dtype", [np.uint32, np.int64, np.float64])
def test_contrast_on_a_large_offset_is_not_lost(dtype):
    small = np.random.default_rng(0).integers(0, 400, (4, 30, 30))
    image = (small + 3_000_000_000).astype(dtype)
    low, high = estimate_range([image], 1, 99)
    assert (low - 3e9, high - 3e9) == estimate_range([small.astype(np.uint16)], 1, 99)
    expected = (small - (low - 3e9)) / (high - low)
    np.testing.assert_allclose(normalise_intensity(image, low, high, (-9, 9)), expected, rtol=1e-6, atol=1e-6)


def test_intensities_are_cut_and_nan_and_infinities_are_the_lowest():
    image = np.array([np.nan, np.inf, -np.inf, -1e30, 1e30, 0.5])
    normal = normalise_intensity(image, 0.0, 1.0, CLIP)
    assert normal.tolist() == [-0.5, -0.5, -0.5, -0.5, 2.5, 0.5]


def test_a_box_has_the_values_of_the_whole():
    image = np.random.default_rng(0).normal(100, 30, (20, 20, 20)).astype(np.float32)
    whole = normalise_intensity(image, 60.0, 170.0, CLIP)
    assert np.array_equal(normalise_intensity(image[3:9, 5:, :7], 60.0, 170.0, CLIP), whole[3:9, 5:, :7])
    assert math.isclose(float(whole.max()), float(np.clip((image.max() - 60) / 110, *CLIP)), rel_tol=1e-5)
