"""Simulated tissues: the same voxels whatever the boxes, and cells as they were ordered."""

from __future__ import annotations

import dataclasses
import math

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid, Box, Vec3, vec3
from bigcp3d.pure.tissue import tissue as tissue_module
from bigcp3d.pure.tissue.position_hashes import blur_valid, gaussian_taps, join, mix, noise_at, noise_row
from bigcp3d.pure.tissue.tissue import render
from bigcp3d.pure.tissue.tissue_cells import LIMIT
from bigcp3d.pure.tissue.tissue_nearest_cell import WARP_SITES
from bigcp3d.pure.tissue.tissue_random import random_tissue
from bigcp3d.pure.tissue.tissue_settings import Tissue

SHAPE = (37, 61, 53)
WHOLE = Box.of_shape(SHAPE)
TISSUES = {
    "membrane": Tissue(SHAPE, 14.0, "membrane", seed=1),
    "nuclei": Tissue(SHAPE, 11.0, "nuclei", seed=2, spacing=1.05, rim=0.5, scale=(1.7, 1.0, 1.0)),
    "odd": Tissue(SHAPE, (6.0, 17.0, 9.5), "membrane", seed=2**64 - 1, blur_vox=0.0, irregularity=0.8, jitter=0.4),
}


@pytest.fixture(scope="module", params=TISSUES)
def rendered(request: pytest.FixtureRequest) -> tuple[Tissue, np.ndarray, np.ndarray]:
    tissue = TISSUES[request.param]
    return tissue, *render(tissue, WHOLE)


boxes = st.tuples(*[st.tuples(st.integers(0, n - 1), st.integers(1, n)) for n in SHAPE]).map(
    lambda ranges: Box(vec3(a for a, _ in ranges), vec3(min(a + b, n) for (a, b), n in zip(ranges, SHAPE, strict=True)))
)


def whole_from_blocks(tissue: Tissue, block: Vec3) -> tuple[np.ndarray, np.ndarray]:
    image, labels = np.zeros(tissue.shape, np.uint16), np.zeros(tissue.shape, np.uint32)
    grid = BlockGrid(tissue.shape, block)
    for index in grid:
        core = grid.core(index)
        image[core.slices()], labels[core.slices()] = render(tissue, core)
    return image, labels


@settings(deadline=None, max_examples=25)
@given(name=st.sampled_from(sorted(TISSUES)), box=boxes)
def test_a_box_holds_the_voxels_of_the_whole(name: str, box: Box) -> None:
    image, labels = render(TISSUES[name], box)
    whole = WHOLES.setdefault(name, render(TISSUES[name], WHOLE))
    np.testing.assert_array_equal(image, whole[0][box.slices()])
    np.testing.assert_array_equal(labels, whole[1][box.slices()])


WHOLES: dict[str, tuple[np.ndarray, np.ndarray]] = {}


@pytest.mark.parametrize("block", [(16, 16, 16), (7, 61, 13), (37, 9, 53), (50, 31, 27)])
def test_blocks_of_any_shape_make_the_same_volume(rendered, block: Vec3) -> None:
    tissue, image, labels = rendered
    blocks = whole_from_blocks(tissue, block)
    np.testing.assert_array_equal(blocks[0], image)
    np.testing.assert_array_equal(blocks[1], labels)


def test_control_a_blur_without_halo_shows_the_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    def padded_blur(array, taps):
        core = array[tuple(slice(len(t) // 2, n - len(t) // 2) for t, n in zip(taps, array.shape, strict=True))]
        return blur_valid(np.pad(core, [(len(t) // 2,) * 2 for t in taps], mode="edge"), taps)

    tissue = TISSUES["membrane"]
    monkeypatch.setattr(tissue_module, "blur_valid", padded_blur)
    image, _ = render(tissue, WHOLE)
    blocks, _ = whole_from_blocks(tissue, (16, 16, 16))
    assert (blocks != image).mean() > 0.05


def test_a_far_corner_of_a_huge_tissue_is_rendered_alike() -> None:
    tissue = Tissue((50_000, 50_000, 50_000), 100.0, seed=5, empty=0.0)
    start = (49_950, 31_234, 49_940)
    box = Box(start, vec3(a + 40 for a in start))
    part = Box(vec3(a + 13 for a in start), box.stop)
    image, labels = render(tissue, box)
    np.testing.assert_array_equal(render(tissue, part)[0], image[13:, 13:, 13:])
    np.testing.assert_array_equal(render(tissue, part)[1], labels[13:, 13:, 13:])
    assert labels.max() > 2**24  # ids beyond what float32 could carry


def test_labels_are_those_of_a_search_among_all_cells(rendered) -> None:
    """The reference: every voxel against every cell of the volume, in numpy; no bins, no neighbourhood."""
    tissue, _, labels = rendered
    wide = WHOLE.grow(tissue.halo)
    cells = tissue_module._cells(tissue, wide)
    rng = np.random.default_rng(0)
    points = np.stack([rng.integers(0, n, 400) for n in SHAPE], axis=1)
    wave = np.array(tissue.pitch) * WARP_SITES
    key = np.uint64(tissue.seed)
    bend = np.array([[noise_at(np.uint64(join(key, a)), *((p + 0.5) / wave)) for a in range(3)] for p in points])
    offset = ((points + 0.5) / tissue.pitch + tissue.warp * bend)[:, None] - cells.seed.reshape(1, -1, 3)
    zz, yy, xx, zy, zx, yx = cells.form.reshape(-1, 6).T
    matrix = np.array([[zz, zy, zx], [zy, yy, yx], [zx, yx, xx]])
    distances = np.einsum("pcm,mnc,pcn->pc", offset, matrix, offset) - cells.bias.ravel()
    best = distances.argmin(axis=1)
    close_enough = (distances.min(axis=1) < LIMIT) & cells.alive.ravel()[best]
    expected = np.where(close_enough, best + 1, 0)  # the box of sites is the whole lattice, so ids are flat indices + 1
    close = (
        np.abs(np.partition(distances, 1, axis=1)[:, 1] - distances.min(axis=1)) < 1e-9
    )  # rounding may decide otherwise
    np.testing.assert_array_equal(labels[tuple(points.T)][~close], expected[~close])
    assert close_enough.mean() > 0.1
    assert not close.all()


def test_the_forms_are_positive_and_nuclei_keep_their_half_axes() -> None:
    tissue = dataclasses.replace(TISSUES["nuclei"], irregularity=0.5)
    forms = tissue_module._cells(tissue, WHOLE).form.reshape(-1, 6)
    matrices = forms[:, [[0, 3, 4], [3, 1, 5], [4, 5, 2]]]
    axes = np.linalg.eigvalsh(matrices) ** -0.5 * 2 * tissue.spacing  # relative to the mean half axis
    assert axes.min() > 0.8 * 0.65 - 1e-9
    assert axes.max() < 1.2 * 1.35 + 1e-9
    assert np.isclose(axes.mean(), 1, atol=0.02)


@pytest.mark.parametrize(("stain", "scale"), [("membrane", (1.0, 1.0, 1.0)), ("nuclei", (2.0, 1.0, 1.0))])
def test_whole_cells_have_the_mean_diameter_ordered_and_are_round_in_micrometres(stain: str, scale) -> None:
    tissue = Tissue((80, 120, 120), 16.0, stain, seed=4, scale=scale, empty=0.0, blur_vox=0.0)
    _, labels = render(tissue, Box.of_shape(tissue.shape))
    border = np.unique(np.concatenate([np.take(labels, i, axis=a).ravel() for a in range(3) for i in (0, -1)]))
    sizes = np.bincount(labels.ravel())
    sizes[border] = sizes[0] = 0
    whole = np.nonzero(sizes)[0]
    sizes = sizes[whole] * np.prod(scale)
    assert len(sizes) > 80
    assert np.isclose(np.cbrt(6 / np.pi * sizes.mean()), 16, rtol=0.1)
    spread = np.mean([[np.ptp(range_) for range_ in np.nonzero(labels == n)] for n in whole[::3]], 0)
    assert np.isclose(spread[0] * scale[0], spread[1], rtol=0.15)


def test_cells_are_in_one_piece_but_for_crumbs() -> None:
    tissue = Tissue((64, 96, 96), 18.0, "membrane", seed=6, irregularity=0.6, empty=0.0)
    _, labels = render(tissue, Box.of_shape(tissue.shape))
    pieces, count = cc3d.connected_components(labels, connectivity=6, return_N=True)
    largest = {}
    for piece, size in enumerate(np.bincount(pieces.ravel())[1:], start=1):
        own = labels.ravel()[np.argmax(pieces.ravel() == piece)] if size > 200 else 0
        largest[own] = max(largest.get(own, 0), size)
    in_crumbs = labels.size - sum(size for own, size in largest.items() if own)
    assert in_crumbs / labels.size < 0.02
    assert count < 1.5 * len(np.unique(labels))


@pytest.mark.parametrize("empty", [0.0, 0.3, 0.7, 1.0])
def test_the_empty_fraction_is_about_the_one_ordered(empty: float) -> None:
    tissue = Tissue((64, 96, 96), 10.0, "membrane", seed=7, empty=empty)
    _, labels = render(tissue, Box.of_shape(tissue.shape))
    assert abs((labels == 0).mean() - empty) < 0.08


def test_walls_are_bright_between_cells_and_nuclei_inside_their_labels() -> None:
    clean = {"noise": 0.0, "attenuation": 0.0, "staining": 0.0, "uneven": 0.0, "texture": 0.0, "blur_vox": 1.0}
    image, labels = render(Tissue(SHAPE, 16.0, "membrane", seed=8, **clean), WHOLE)
    wall = ndimage.morphological_gradient(labels.astype(float), footprint=ndimage.generate_binary_structure(3, 1)) > 0
    deep = ndimage.distance_transform_edt(~wall) > 3
    assert image[wall].mean() > 800 > 300 > image[deep & (labels > 0)].mean()
    image, labels = render(Tissue(SHAPE, 16.0, "nuclei", seed=8, **clean), WHOLE)
    assert image[labels > 0].mean() > 700 > 200 > image[labels == 0].mean()


def test_light_fades_with_depth_and_noise_has_the_strength_ordered() -> None:
    still = Tissue((40, 64, 64), 30.0, "nuclei", seed=9, noise=0.0, attenuation=0.0, background=500.0)
    box = Box.of_shape(still.shape)
    bright, labels = render(still, box)
    faded, _ = render(dataclasses.replace(still, attenuation=0.5), box)
    assert np.isclose((faded[-1].mean() - 500) / (bright[-1].mean() - 500), 0.5, atol=0.02)
    np.testing.assert_array_equal(faded[0], bright[0])
    noisy, same = render(dataclasses.replace(still, noise=0.2), box)
    np.testing.assert_array_equal(same, labels)
    error = noisy.astype(float) - bright
    dark = bright < 502
    assert abs(error[dark].mean()) < 1
    assert np.isclose(error[dark].std(), 0.2 * 1000 * 0.05**0.5, rtol=0.05)
    full = (bright > 1450) & (bright < 1550)
    assert np.isclose(error[full].std(), 0.2 * 1000, rtol=0.1)


def test_another_seed_is_another_tissue() -> None:
    one = render(TISSUES["membrane"], WHOLE)
    two = render(dataclasses.replace(TISSUES["membrane"], seed=3), WHOLE)
    assert (one[1] != two[1]).mean() > 0.5


def test_the_hash_is_splitmix64() -> None:
    state, found = 1234567, []
    for _ in range(3):
        found.append(int(mix(np.uint64(state))))
        state = (state + 0x9E3779B97F4A7C15) % 2**64
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]  # Vigna's reference C program


def test_the_field_of_a_row_is_the_noise_at_its_points() -> None:
    row, nodes = np.empty(40), np.empty(64)
    key = np.uint64(11)
    noise_row(key, -3.7, 2.2, -17, 4.3, nodes, row)
    points = [noise_at(key, -3.7, 2.2, (-17 + i + 0.5) / 4.3) for i in range(40)]
    np.testing.assert_allclose(row, points, atol=1e-12)
    assert np.abs(np.diff(row)).max() < 1.5 * 2 / 4.3  # smooth


def test_the_blur_is_that_of_scipy() -> None:
    array = np.random.default_rng(0).random((20, 24, 28), np.float32)
    taps = (gaussian_taps(1.5), gaussian_taps(1.0), gaussian_taps(0.0))
    expected = array.astype(float)
    for axis, tap in enumerate(taps):
        expected = ndimage.correlate1d(expected, tap.astype(float), axis=axis)
    np.testing.assert_allclose(blur_valid(array, taps), expected[5:-5, 3:-3], rtol=1e-5)


@pytest.mark.parametrize("stain", ["membrane", "nuclei"])
def test_a_random_tissue_is_drawn_from_the_generator_alone(stain: str) -> None:
    drawn = [random_tissue(np.random.default_rng(s), (24, 32, 32), stain, 9.0) for s in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    for seed in range(20):
        image, labels = render(
            random_tissue(np.random.default_rng(seed), (16, 24, 24), stain, 9.0), Box.of_shape((16, 24, 24))
        )
        assert image.shape == labels.shape
        assert image.std() > 0


def test_long_cells_stay_large_enough_for_a_tissue() -> None:
    for diameter in (6.0, 8.0, 16.0):
        rng = np.random.default_rng(0)
        sizes = [random_tissue(rng, (160, 256, 256), "membrane", diameter).diameter for _ in range(500)]
        assert min(map(min, sizes)) >= 4.0


def test_membrane_tissues_have_long_cells_now_and_then_and_nuclei_never() -> None:
    def ratios(stain: str) -> np.ndarray:
        drawn = [random_tissue(np.random.default_rng(seed), (24, 32, 32), stain, 20.0) for seed in range(200)]
        assert all(math.prod(tissue.diameter) == pytest.approx(20.0**3) for tissue in drawn)
        return np.array([max(tissue.diameter) / min(tissue.diameter) for tissue in drawn])

    assert 0.1 < np.mean(ratios("membrane") > 1.8) < 0.4
    assert ratios("membrane").max() <= np.exp(1.4)
    assert ratios("nuclei").max() < 1.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stain": "walls"}, "'membrane' or 'nuclei'"),
        ({"shape": (10, 10)}, "three positive"),
        ({"shape": (10, 0, 10)}, "three positive"),
        ({"diameter_vox": 1.0}, "diameter_vox is 1.0; use a value from 4 to 2000"),
        ({"diameter_vox": (9.0, float("nan"), 9.0)}, "diameter_vox"),
        ({"scale": (0.0, 1.0, 1.0)}, "scale"),
        ({"seed": -1}, "seed is -1"),
        ({"noise": "loud"}, "noise is loud"),
        ({"jitter": 0.6}, "jitter is 0.6; use a value from 0 to 0.4"),
        ({"shape": (100_000, 100_000, 100_000), "diameter_vox": 10.0}, "uint32 labels allow 4,294,967,295"),
    ],
)
def test_a_tissue_that_cannot_be_is_refused(change: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        dataclasses.replace(Tissue((20, 20, 20)), **change)


@pytest.mark.parametrize("box", [Box((0, 0, 0), (0, 5, 5)), Box((-1, 0, 0), (5, 5, 5)), Box((0, 0, 0), (38, 5, 5))])
def test_a_box_outside_the_tissue_is_refused(box: Box) -> None:
    with pytest.raises(InputError, match="ask for a box"):
        render(TISSUES["membrane"], box)
