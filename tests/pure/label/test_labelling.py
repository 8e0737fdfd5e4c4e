"""Labels against fancy indexing on the whole volume."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bigcp3d.pure.boxes import BlockGrid, Box, Vec3
from bigcp3d.pure.label.labelling import label_box
from bigcp3d.pure.track.units import UNASSIGNED

quick = settings(deadline=None, max_examples=30)
sides = st.tuples(*[st.integers(1, 8)] * 3)
seeds = st.integers(0, 2**32 - 1)
REACH = 3


def scene(shape: Vec3, seed: int) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Random offsets within the volume and the reach, and the id of every voxel as a sink (0: removed)."""
    rng = np.random.default_rng(seed)
    at = np.indices(shape)
    most = np.asarray(shape)[:, None, None, None] - 1
    offsets = (np.clip(at + rng.integers(-REACH, REACH + 1, at.shape), 0, most) - at).astype(np.int8)
    offsets[:, rng.random(shape) < 0.2] = UNASSIGNED
    return offsets, rng.integers(0, 9, shape)


def looked_up(offsets: NDArray[np.int8], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    assigned = offsets[0] != UNASSIGNED
    end = np.indices(ids.shape) + np.where(assigned, offsets, 0)
    return np.where(assigned, ids[tuple(end)], 0)


def sinks_in(box: Box, ids: NDArray[np.int64]) -> dict[str, NDArray[np.integer]]:
    box = box.clip(ids.shape)  # type: ignore[arg-type]
    voxel = np.argwhere(np.ones(box.shape, bool)).astype(np.int32) + np.array(box.start, np.int32)
    return {"sink_voxel": voxel, "sink_id": ids[tuple(voxel.T)]}


@quick
@given(sides, st.tuples(*[st.integers(1, 9)] * 3), seeds)
def test_labels_are_the_ids_at_the_end_points_in_any_blocks(shape: Vec3, block: Vec3, seed: int) -> None:
    offsets, ids = scene(shape, seed)
    truth = looked_up(offsets, ids)
    for core in map(BlockGrid(shape, block).core, BlockGrid(shape, block)):
        own = offsets[(slice(None), *core.slices())]
        for sinks in (sinks_in(core.grow(REACH), ids), sinks_in(Box.of_shape(shape), ids)):
            labels = label_box(own, core, shape, reach=REACH, **sinks)
            assert labels.dtype == np.uint32
            assert np.array_equal(labels, truth[core.slices()])


def test_control_sinks_of_a_smaller_reach_lose_voxels() -> None:
    offsets, ids = scene((8, 8, 8), 1)
    core = Box((3, 3, 3), (5, 5, 5))
    offsets[:, 3, 3, 3], ids[3, 3, 0] = (0, 0, -REACH), 7
    own = offsets[(slice(None), *core.slices())]
    labels = [label_box(own, core, (8, 8, 8), reach=REACH, **sinks_in(core.grow(r), ids)) for r in (REACH, REACH - 1)]
    assert labels[0][0, 0, 0] == 7
    assert labels[1][0, 0, 0] == 0


@pytest.mark.parametrize(("dtype", "largest"), [("uint32", 2**32 - 1), ("uint64", 2**40)])
def test_ids_up_to_the_dtype_s_largest_are_kept(dtype: str, largest: int) -> None:
    voxel = np.zeros((1, 3), np.int32)
    offsets, box = np.zeros((3, 1, 1, 1), np.int8), Box.of_shape((1, 1, 1))
    labels = label_box(offsets, box, box.shape, sink_voxel=voxel, sink_id=np.array([largest]), reach=1, dtype=dtype)
    assert labels.dtype == dtype
    assert labels.item() == largest


def test_a_box_without_sinks_is_zero() -> None:
    offsets, box = np.full((3, 2, 3, 4), UNASSIGNED, np.int8), Box((1, 1, 1), (3, 4, 5))
    nothing = np.empty((0, 3), np.int32)
    labels = label_box(offsets, box, (9, 9, 9), sink_voxel=nothing, sink_id=np.empty(0, np.int64), reach=2)
    assert labels.shape == box.shape
    assert not labels.any()
