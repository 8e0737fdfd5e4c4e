"""Prepared voxels of a box are those of the whole volume, bit for bit, and what each filter is said to do."""

import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import given, settings
from hypothesis import strategies as st

from bigcp3d.pure.boxes import Box
from bigcp3d.pure.prepare.prepare_box import prepare_box
from bigcp3d.pure.prepare.steps import BACKGROUND, CLAHE, CONTRAST, GAUSSIAN, MEDIAN, Step, margin_of

SHAPE = (23, 47, 41)
CHAINS = {
    "gaussian": [Step(GAUSSIAN, (0.6, 1.3, 1.7))],
    "median": [Step(MEDIAN, (1.2, 3.0, 3.9))],
    "background": [Step(BACKGROUND, (3.3, 7.5, 9.0))],
    "contrast": [Step(CONTRAST, (5.0, 9.0, 8.0))],
    "clahe": [Step(CLAHE, (5.0, 7.0, 6.0))],
    "all": [
        Step(MEDIAN, (1.0, 3.0, 3.0)),
        Step(BACKGROUND, (3.0, 5.0, 5.0)),
        Step(CLAHE, (3.0, 4.0, 4.0)),
        Step(CONTRAST, (2.0, 4.0, 4.0)),
        Step(GAUSSIAN, (0.3, 0.5, 0.5)),
    ],
    "wider than the volume": [Step(BACKGROUND, (90.0,) * 3), Step(GAUSSIAN, (30.0,) * 3), Step(CLAHE, (90.0,) * 3)],
}


def image_of(shape=SHAPE):
    """Noise, a step and a very bright voxel: running sums of it would keep what they once lost to rounding."""
    values = np.random.default_rng(4).random(shape, dtype=np.float32)
    values[:, shape[1] // 3 :] *= 0.01
    values[3, 4, 5] = 3e4
    return values


def prepare(values, steps, box=None, **more):
    read = []

    def read_box(grown):
        read.append(grown)
        return values[grown.slices()].copy()

    prepared = prepare_box(read_box, box or Box.of_shape(values.shape), values.shape, steps, **more)
    return prepared, read


side = [st.tuples(st.integers(0, s - 1), st.integers(1, s)) for s in SHAPE]


@pytest.mark.parametrize("name", CHAINS)
@settings(deadline=None, max_examples=8)
@given(st.tuples(*side), st.integers(1, 3))
def test_a_box_is_that_of_the_whole_volume_to_the_bit(name, ends, threads):
    values, steps = image_of(), CHAINS[name]
    whole = prepare(values, steps)[0]
    start, stop = zip(*((a, min(a + n, s)) for (a, n), s in zip(ends, SHAPE, strict=True)), strict=True)
    box = Box(start, stop)
    prepared, read = prepare(values, steps, box, threads=threads)
    assert prepared.dtype == np.float32
    assert np.array_equal(prepared.view(np.int32), np.ascontiguousarray(whole[box.slices()]).view(np.int32))
    assert read == [box.grow(margin_of(steps, SHAPE)).clip(SHAPE)]


def test_a_margin_that_is_too_small_is_seen():
    """The control: every filter needs its whole margin."""
    values, box = image_of(), Box((9, 20, 18), (12, 24, 22))
    for name in ("gaussian", "median", "background", "contrast", "clahe"):
        (step,) = CHAINS[name]
        margin = (2, 3, 3) if name == "clahe" else tuple(max(0, m - 1) for m in step.margin(SHAPE))
        grown = box.grow(margin)
        cut = prepare_box(
            lambda part, at=grown: values[at.slices()][part.slices()], Box.of_shape(grown.shape), grown.shape, [step]
        )
        whole = prepare(values, [step])[0]
        assert not np.array_equal(cut[box.slices(grown.start)], whole[box.slices()]), name


def test_a_running_sum_would_depend_on_where_it_starts():
    """The control: why `scipy.ndimage.uniform_filter` is not among the filters."""
    values = image_of().astype(np.float64)
    whole, cut = ndi.uniform_filter(values, 5), ndi.uniform_filter(values[:, 9:], 5)
    assert not np.array_equal(whole[:, 20:30], cut[:, 11:21])
    whole, cut = ndi.gaussian_filter(values, 1), ndi.gaussian_filter(values[:, 9:], 1)
    assert np.array_equal(whole[:, 20:30], cut[:, 11:21])


def test_filters_are_those_of_scipy():
    values = image_of()
    assert np.allclose(
        prepare(values, [Step(GAUSSIAN, (0.6, 1.3, 1.7))])[0], ndi.gaussian_filter(values, (0.6, 1.3, 1.7)), rtol=1e-6
    )
    assert np.array_equal(prepare(values, [Step(MEDIAN, (1.2, 3.0, 3.9))])[0], ndi.median_filter(values, (1, 3, 3)))
    smooth = ndi.gaussian_filter(values, (3.3 / 16, 7.5 / 16, 9 / 16), radius=(0, 1, 2))
    opened = ndi.grey_opening(smooth, (3, 7, 9))
    assert np.allclose(prepare(values, [Step(BACKGROUND, (3.3, 7.5, 9.0))])[0], values - opened, atol=1e-6)


def test_contrast_makes_dim_and_bright_alike():
    values = image_of()
    values[3, 4, 5] = 0.5
    bright, dim = np.s_[5:-5, 3:12, 5:-5], np.s_[5:-5, 22:40, 5:-5]
    assert values[bright].std() > 50 * values[dim].std()
    prepared = prepare(values * np.float32(10), [Step(CONTRAST, (9.0, 9.0, 9.0))])[0]
    assert prepared[bright].std() < 2 * prepared[dim].std()
    assert abs(prepared[bright].mean()) < 0.1


def test_clahe_spreads_the_intensities_of_each_tile():
    values = image_of((32, 64, 64))
    values[:, :, :32] = values[:, :, :32].clip(0, 1) * 0.2
    prepared = prepare(values, [Step(CLAHE, (16.0, 16.0, 16.0))])[0]
    assert prepared.min() >= 0
    assert prepared.max() <= 1
    assert prepared[:, :16, :16].std() > 2 * values[:, :16, :16].std()
    order = np.argsort(values[20, 8, 40:44])
    assert np.array_equal(np.argsort(prepared[20, 8, 40:44]), order)


def test_without_steps_nothing_is_computed():
    values = image_of()
    prepared, read = prepare(values, [])
    assert np.array_equal(prepared, values)
    assert read == [Box.of_shape(SHAPE)]
