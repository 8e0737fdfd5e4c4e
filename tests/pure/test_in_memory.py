"""Labels of a volume in memory are those of blocks chained pass by pass, whatever the tiles and threads."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bigcp3d.errors import InputError
from bigcp3d.pure import in_memory as whole
from bigcp3d.pure.group.filters import Filters
from bigcp3d.pure.in_memory import label_maps
from tests.pure.test_exact import Chain, Maps, smooth

SHAPE = (18, 30, 28)
RADIUS = 4.5


def cells() -> Maps:
    return smooth(SHAPE, 3)


def chain(filters: Filters) -> Chain:
    """The passes with what a run derives from the radius."""
    steps, reach = max(50, math.ceil(10 * RADIUS)), math.ceil(3 * RADIUS)
    return Chain(steps=steps, reach=reach, radius=1, filters=filters)


@pytest.mark.parametrize("threads", [1, 3])
def test_labels_are_those_of_the_passes_on_blocks(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "tile_shape", lambda reach: (11, 23, 9))
    kept = Filters(min_volume_vox=4 / 3 / 40 * math.pi * RADIUS**3)
    labels = label_maps(cells(), RADIUS, threads=threads)
    assert labels.dtype == np.uint32
    assert labels.max() > 10
    assert np.array_equal(labels, chain(kept).run(cells(), (17, 12, 20)))
    large = Filters(min_volume_vox=400)
    some = label_maps(cells(), RADIUS, filters=large, threads=threads)
    assert 0 < some.max() < labels.max()  # control: filters act
    assert np.array_equal(some, chain(large).whole(cells()))


def test_tiles_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = label_maps(cells(), RADIUS)
    assert labels.max() > 10
    monkeypatch.setattr(whole, "tile_shape", lambda reach: (11, 23, 9))
    assert np.array_equal(label_maps(cells(), RADIUS), labels)


def test_touching_cells_much_smaller_than_expected_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    way = 2.5 - np.indices((18, 18, 18)) % 6  # 27 cubes of 6 voxels, with perfect maps
    maps = np.concatenate([np.full((1, 18, 18, 18), 127), np.rint(127 * np.tanh(way / 4))]).astype(np.int8)
    assert label_maps(maps, 10, filters=Filters()).max() == 27
    monkeypatch.setattr(whole, "closing_radius", lambda radius: 5)
    assert label_maps(maps, 10, filters=Filters()).max() == 1, "control: a ball of half the radius joins all"


def test_an_empty_volume_has_no_labels() -> None:
    assert not label_maps(np.zeros((4, 5, 6, 7), np.int8), 3).any()


@pytest.mark.parametrize(
    ("maps", "radius", "filters", "said"),
    [
        (np.zeros((4, 5, 6, 7), np.float32), 3, None, "float32"),
        (np.zeros((3, 5, 6, 7), np.int8), 3, None, r"\(3, 5, 6, 7\)"),
        (np.zeros((4, 5, 6, 7), np.int8), 43, None, "43"),
        (np.zeros((4, 5, 6, 7), np.int8), 0, None, "radius is 0"),
        (np.zeros((4, 5, 6, 7), np.int8), 3, Filters(max_flow_error=1.0), "segment"),
    ],
)
def test_what_cannot_be_labelled_is_refused(maps: Maps, radius: float, filters: Filters | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        label_maps(maps, radius, filters=filters)
