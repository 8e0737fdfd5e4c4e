"""The table of cells against scikit-image on the whole volume, whatever the blocks."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import regionprops_table

from bigcp3d.pure.boxes import BlockGrid, Box
from bigcp3d.pure.cells import cell_table
from bigcp3d.pure.cells.cell_sums import CellSums, merge_cell_sums, sum_cells
from bigcp3d.pure.cells.cell_table import Channel, tabulate_cells
from bigcp3d.pure.cells.light_sums import digits_of
from bigcp3d.pure.cells.surface import direction_weights, surfaces
from bigcp3d.pure.group.seams import HALF_NEIGHBOURS
from bigcp3d.pure.tissue.tissue import render
from bigcp3d.pure.tissue.tissue_settings import Tissue

SHAPE = (26, 40, 37)
SCALE, SHIFT = (2.0, 0.5, 0.4), (10.0, -3.0, 0.25)
BLOCKS = [SHAPE, (9, 11, 13), (26, 40, 1), (5, 40, 37), (30, 17, 64)]
CHANNELS = (Channel("walls", "uint16"), Channel("other", "uint16"))


@pytest.fixture(scope="module")
def tissue() -> tuple[np.ndarray, np.ndarray]:
    image, labels = render(Tissue(shape=SHAPE, diameter_vox=9.0, seed=4), Box.of_shape(SHAPE))
    labels[3, 5:9, 7] = 99_999  # one voxel thick
    return np.stack([image, image[::-1] % 77]), labels


def measure(labels, light, block, halo: int = 1) -> CellSums:
    """Sums of blocks, merged in two steps."""
    parts = []
    for index in (grid := BlockGrid(labels.shape, block)):
        core = grid.core(index)
        seen = np.zeros_like(labels)
        seen[core.grow(halo).clip(labels.shape).slices()] = labels[core.grow(halo).clip(labels.shape).slices()]
        around = np.pad(seen, 1)[core.slices()[0].start : core.stop[0] + 2]
        around = around[:, core.start[1] : core.stop[1] + 2, core.start[2] : core.stop[2] + 2]
        parts.append(sum_cells(around, core.start, labels.shape, [channel[core.slices()].copy() for channel in light]))
    half = len(parts) // 2
    digits = sum(len(digits_of(channel.dtype)) for channel in light)
    return merge_cell_sums([merge_cell_sums(p, digits) for p in (parts[half:], parts[:half])], digits)


def count_neighbours(labels: np.ndarray) -> list[int]:
    pairs = set()
    for axis in range(3):
        one, other = (np.take(labels, range(*ends), axis=axis) for ends in ((0, -1 + labels.shape[axis]), (1, labels.shape[axis])))  # noqa: E501 # fmt: skip
        touching = (one != other) & (one > 0) & (other > 0)
        pairs |= set(zip(one[touching].tolist(), other[touching].tolist(), strict=True))
    both = pairs | {(b, a) for a, b in pairs}
    return [sum(a == label for a, _ in both) for label in np.unique(labels[labels > 0]).tolist()]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_the_table_is_that_of_scikit_image(tissue, block):
    light, labels = tissue
    ours = tabulate_cells(measure(labels, light, block), SHAPE, CHANNELS, scale_um=SCALE, translation_um=SHIFT)
    names = ("label", "num_pixels", "area", "bbox", "centroid", "equivalent_diameter_area", "axis_major_length")
    theirs = regionprops_table(
        labels, np.moveaxis(light, 0, -1), (*names, "intensity_mean", "intensity_std", "inertia_tensor_eigvals"), spacing=SCALE  # noqa: E501
    )  # fmt: skip
    assert len(ours["label"]) > 50
    assert np.array_equal(ours["label"], theirs["label"])
    assert np.array_equal(ours["volume_vox"], theirs["num_pixels"])
    np.testing.assert_allclose(ours["volume_um3"], theirs["area"])
    np.testing.assert_allclose(ours["equivalent_diameter_um"], theirs["equivalent_diameter_area"])
    np.testing.assert_allclose(ours["axis_major_um"], theirs["axis_major_length"], rtol=1e-6, atol=1e-6)
    i = np.stack([theirs[f"inertia_tensor_eigvals-{k}"] for k in range(3)], axis=1)
    minor = np.sqrt(10 * np.maximum(i[:, 1] + i[:, 2] - i[:, 0], 0))
    np.testing.assert_allclose(ours["axis_minor_um"], minor, atol=1e-5)
    np.testing.assert_allclose(
        ours["axis_middle_um"], np.sqrt(10 * np.maximum(i[:, 0] - i[:, 1] + i[:, 2], 0)), atol=1e-5
    )
    for k, axis in enumerate("zyx"):
        assert np.array_equal(ours[f"box_{axis}_start_vox"], theirs[f"bbox-{k}"])
        assert np.array_equal(ours[f"box_{axis}_stop_vox"], theirs[f"bbox-{k + 3}"])
        np.testing.assert_allclose(ours[f"centroid_{axis}_um"], theirs[f"centroid-{k}"] + SHIFT[k])
        np.testing.assert_allclose(ours[f"box_{axis}_stop_um"], (theirs[f"bbox-{k + 3}"] - 0.5) * SCALE[k] + SHIFT[k])
    for k, channel in enumerate(CHANNELS):
        np.testing.assert_allclose(ours[f"mean_{channel.name}"], theirs[f"intensity_mean-{k}"])
        np.testing.assert_allclose(ours[f"std_{channel.name}"], theirs[f"intensity_std-{k}"], atol=1e-6)
    inside = ndimage.binary_erosion(np.ones(SHAPE, bool))
    assert np.array_equal(ours["touches_border"], np.isin(ours["label"], labels[~inside]))
    assert ours["neighbours"].tolist() == count_neighbours(labels)
    assert np.all(np.isfinite(ours["elongation"]))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.tuples(*(st.integers(1, 9) for _ in range(3))), st.integers(1, 12))
def test_no_sum_depends_on_the_blocks(seed, block, ids):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 9, 3).tolist())
    labels = rng.integers(0, ids + 1, shape).astype(rng.choice(["uint8", "uint32", "uint64", "int64"]))
    light = rng.integers(0, 2**16, (2, *shape)).astype(rng.choice(["uint16", "uint32", "float32"]))
    assert equal(measure(labels, light, block), measure(labels, light, shape))


def equal(one: CellSums, other: CellSums) -> bool:
    """Whether two tables are the same to the last number."""

    def columns(t: CellSums) -> list[np.ndarray]:
        contacts = [t.contacts.pred, t.contacts.truth, t.contacts.count]
        return [t.ids, t.exits, t.light, *contacts, *t.sums.arrays().values()]

    return all(np.array_equal(a, b) for a, b in zip(columns(one), columns(other), strict=True))


def test_a_block_without_its_halo_would_be_seen(tissue):
    """The control."""
    light, labels = tissue
    assert equal(measure(labels, light, (9, 11, 13)), measure(labels, light, SHAPE))
    assert not equal(measure(labels, light, (9, 11, 13), halo=0), measure(labels, light, SHAPE))


def test_exits_are_those_of_each_direction(tissue):
    _, labels = tissue
    sums = measure(labels, [], (9, 11, 13))
    padded = np.pad(labels, 1)
    for k, step in enumerate(HALF_NEIGHBOURS):
        after = np.roll(padded, [-s for s in step], axis=(0, 1, 2))
        leaving, counts = np.unique(padded[(padded > 0) & (after != padded)], return_counts=True)
        assert np.array_equal(leaving, sums.ids)
        assert np.array_equal(counts, sums.exits[:, k])


def test_weights_are_those_of_the_book_where_voxels_are_cubes():
    weights = direction_weights((1, 1, 1))
    expected = {1: 0.0915557824, 2: 0.0739612558, 3: 0.0703912794}  # Ohser and Muecklich 2000, for both senses
    for step, weight in zip(HALF_NEIGHBOURS, weights, strict=True):
        assert weight == pytest.approx(expected[sum(map(abs, step))], abs=1e-6)


@pytest.mark.parametrize("scale", [(1.0, 1.0, 1.0), (4.0, 1.0, 1.0), (0.5, 0.3, 0.3)])
def test_the_surface_of_a_ball_is_that_of_a_ball(scale):
    radius = 12.0 * max(scale)
    half = [int(radius / s) + 2 for s in scale]
    z, y, x = np.meshgrid(*(np.arange(-h, h + 1) * s for h, s in zip(half, scale, strict=True)), indexing="ij")
    ball = (z**2 + y**2 + x**2 <= radius**2).astype(np.uint8)
    (surface,) = surfaces(measure(ball, [], ball.shape).exits, scale)
    assert surface == pytest.approx(4 * np.pi * radius**2, rel=0.03)


def test_where_there_is_no_scale_all_is_in_voxels(tissue):
    light, labels = tissue
    columns = tabulate_cells(measure(labels, light, SHAPE), SHAPE, CHANNELS)
    assert not [name for name in columns if name.endswith(("_um", "_um2", "_um3"))]
    assert {"surface_vox2", "axis_minor_vox", "equivalent_diameter_vox"} < set(columns)


def test_the_docstring_names_each_column(tissue):
    light, labels = tissue
    columns = tabulate_cells(measure(labels, light, SHAPE), SHAPE, CHANNELS, scale_um=SCALE)
    of_z = {re.sub(r"^(centroid|box)_[yx]_", r"\1_z_", name) for name in columns}
    table = cell_table.__doc__[: cell_table.__doc__.index("Without a voxel size")]
    named = set(re.findall(r"``(\w+)``", table))
    assert of_z == {name.replace("CHANNEL", channel.name) for name in named for channel in CHANNELS}


def test_labels_without_a_cell_give_a_table_without_a_row():
    columns = tabulate_cells(measure(np.zeros((3, 4, 5), np.int32), [], (2, 2, 2)), (3, 4, 5), scale_um=SCALE)
    assert {len(column) for column in columns.values()} == {0}
