"""Maps of other tools become the int8 that our own prediction would have written."""

import numpy as np
import pytest
import torch

from bigcp3d.pure.boxes import Box
from bigcp3d.pure.predict.float_maps import quantise_maps, refuse_reason
from bigcp3d.pure.predict.patch_sums import PatchSums
from bigcp3d.pure.predict.patches import PatchGrid

SHAPE = (5, 6, 7)


def values(seed=0, low=-1.3, high=1.3):
    return np.random.default_rng(seed).uniform(low, high, (4, *SHAPE)).astype(np.float32)


def predicted(prediction):
    """What prediction makes of one patch that covers the volume."""
    box, grid = Box.of_shape(SHAPE), PatchGrid(SHAPE, SHAPE, 0)
    sums = PatchSums(box, grid, torch.device("cpu"))
    sums.add(box, torch.from_numpy(prediction))
    return sums.maps(box)


def test_they_equal_our_own_prediction():
    given = values()
    given[1].flat[:6] = np.array([0.5, -0.5, 1.5, -1.5, 126.5, -126.5]) / 127  # ties
    assert np.array_equal(quantise_maps(given), predicted(given))
    assert quantise_maps(given)[1].flat[:6].tolist() == [1, -1, 2, -2, 127, -127]
    assert quantise_maps(given)[0].min() == 0


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_int8_maps_divided_by_127_come_back(dtype):
    maps = np.tile(np.arange(-127, 128, dtype=np.int8), 4).reshape(4, 5, 51, 1)
    back = quantise_maps((maps / 127).astype(dtype))
    assert np.array_equal(back[1:], maps[1:])
    assert np.array_equal(back[0], np.maximum(maps[0], 0))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({(2, 1, 1, 1): np.nan}, "1 NaN"),
        ({(1, 0, 0, 0): np.inf, (0, 0, 0, 0): np.nan}, "2 NaN or infinite"),
        ({(0, 1, 2, 3): 6.5}, "sigmoid of logits"),
        ({(0, 1, 2, 3): -6.5}, "foreground from -6.5"),
        ({(0, 1, 2, 3): 127}, "divide int8 maps by 127"),
    ],
)
def test_what_is_no_foreground_and_flow_is_refused(change, reason):
    given = values(low=-1, high=1)
    assert refuse_reason(given) is None
    for at, value in change.items():
        given[at] = value
    assert reason in refuse_reason(given)


def test_long_flows_pass_and_are_cut_on_each_axis():
    given = values(low=-1, high=1)
    given[1:] *= 3
    assert refuse_reason(given) is None
    assert np.array_equal(quantise_maps(given)[1:], quantise_maps(np.clip(given, -1, 1))[1:])
