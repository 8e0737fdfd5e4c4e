"""Means of windows, compared with a slow loop; odd lengths, and pieces that equal the whole."""

import numpy as np
import pytest

from bigcp3d.pure.boxes import vec3
from bigcp3d.pure.mean_pool import choose_factors, pool_means, pooled_shape, total_factors


def slow_means(values, factors):
    shape = pooled_shape(values.shape, factors)
    means = np.zeros(shape, np.float64)
    for index in np.ndindex(shape):
        window = tuple(slice(i * f, i * f + f) for i, f in zip(index, factors, strict=True))
        means[index] = values[window].astype(np.float64).mean()
    return means


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "int64"])
@pytest.mark.parametrize("factors", [(1, 2, 2), (2, 2, 2), (2, 1, 1), (1, 1, 1)])
def test_means_are_those_of_windows(dtype, factors):
    values = (np.random.default_rng(0).random((5, 6, 7)) * 200 - (dtype == "int16") * 100).astype(dtype)
    found, expected = pool_means(values, factors), slow_means(values, factors)
    assert found.dtype == values.dtype
    if values.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    else:
        np.testing.assert_array_equal(found, np.floor(expected + 0.5).astype(dtype))


def test_the_largest_numbers_stay():
    for dtype in ("uint8", "uint16", "uint32", "int16"):
        most = np.iinfo(dtype).max
        assert (pool_means(np.full((3, 3, 3), most, dtype), (2, 2, 2)) == most).all()
    assert pool_means(np.full((2, 2, 2), np.iinfo("uint64").max), (2, 2, 2))[0, 0, 0] > 2**63


def test_pieces_give_the_voxels_of_the_whole():
    values = np.random.default_rng(1).integers(0, 60000, (9, 10, 11)).astype("uint16")
    whole = pool_means(values, (2, 2, 2))
    pieces = [pool_means(values[z : z + 4], (2, 2, 2)) for z in (0, 4, 8)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_other_windows_are_refused():
    with pytest.raises(ValueError, match="allowed are 1 and 2"):
        pool_means(np.zeros((4, 4, 4)), (3, 1, 1))


@pytest.mark.parametrize(
    ("shape", "scale", "expected"),
    [
        ((32, 256, 256), (2.0, 0.5, 0.5), [(1, 2, 2), (1, 2, 2)]),
        ((256, 256, 256), (1.0, 1.0, 1.0), [(2, 2, 2), (2, 2, 2)]),
        ((64, 64, 64), (1.0, 1.0, 1.0), []),
        ((1, 200, 200), (1.0, 1.0, 1.0), [(1, 2, 2), (1, 2, 2)]),
        ((300, 20, 20), (9.0, 1.0, 1.0), [(2, 2, 2), (2, 2, 2), (2, 2, 2)]),
    ],
)
def test_levels_become_isotropic_and_end_small(shape, scale, expected):
    assert choose_factors(shape, scale, 64) == expected
    for factor in expected:
        shape = pooled_shape(shape, factor)
    assert max(shape) <= 64
    assert total_factors(expected)[-1] == vec3(np.prod([(1, 1, 1), *expected], axis=0))
