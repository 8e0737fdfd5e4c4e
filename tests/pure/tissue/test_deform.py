"""Warped labels and images stay together; divided and carved cells keep what the docstrings promise."""

import numpy as np
import pytest
from scipy import ndimage

from bigcp3d.pure.learn.targets import label_centroids
from bigcp3d.pure.tissue.deform import Warp, carve, divide_cells, draw_noise, draw_warp, warp_array

SHAPE = (20, 24, 28)


def generators(number=20):
    return [np.random.default_rng(seed) for seed in range(number)]


def bricks(shape=(40, 40, 40), side=10):
    """Cubes of one cell each."""
    z, y, x = (np.arange(n) // side for n in shape)
    return ((z[:, None, None] * 100 + y[:, None]) * 100 + x + 1).astype(np.int32)


def test_a_warp_that_moves_nothing_takes_the_middle():
    source = np.random.default_rng(0).random((24, 28, 32)).astype(np.float32)
    still = Warp(np.eye(3), 1, 10.0, 0.0, SHAPE)
    for linear in (False, True):
        np.testing.assert_allclose(warp_array(source, still, linear=linear), source[2:-2, 2:-2, 2:-2], atol=1e-6)


@pytest.mark.parametrize("free", [False, True])
def test_a_warp_without_bend_equals_scipys_affine_transform(free):
    for rng in generators(6):
        warp = draw_warp(rng, SHAPE, 8.0, free=free)._replace(strength=0.0)
        source = ndimage.gaussian_filter(rng.random(warp.source_shape), 1.5).astype(np.float32)
        middle, half = (np.array(source.shape) - 1) / 2, (np.array(SHAPE) - 1) / 2
        expected = ndimage.affine_transform(
            source, warp.matrix, middle - warp.matrix @ half, SHAPE, order=1, mode="nearest"
        )
        np.testing.assert_allclose(warp_array(source, warp, linear=True), expected, atol=1e-5)


def test_labels_and_image_of_the_same_numbers_are_moved_alike():
    for rng in generators(6):
        warp = draw_warp(rng, SHAPE, 8.0, free=True)
        axes = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in warp.source_shape), indexing="ij")
        for place in axes:
            nearest, linear = warp_array(place, warp), warp_array(place, warp, linear=True)
            assert np.abs(nearest - linear).max() <= 0.5 + 1e-4
            assert linear.min() >= 0
            assert linear.max() <= place.max()


def test_the_source_holds_all_that_a_warp_can_ask_for():
    for rng in generators(40):
        warp = draw_warp(rng, SHAPE, 8.0, free=True)
        corners = np.array(np.meshgrid(*(((-(n - 1) / 2), (n - 1) / 2) for n in SHAPE), indexing="ij")).reshape(3, -1)
        reach = np.abs(warp.matrix @ corners).max(axis=1) + warp.strength
        assert (reach <= (np.array(warp.source_shape) - 1) / 2).all()


def test_images_are_turned_about_z_alone_and_hardly_stretched():
    for rng in generators(40):
        matrix = draw_warp(rng, SHAPE, 8.0, free=False).matrix
        assert np.abs(matrix[0, 1:]).max() == np.abs(matrix[1:, 0]).max() == 0
        assert 0.7 < np.linalg.det(matrix) < 1.4


def test_divided_cells_are_halves_of_the_cells_that_they_were():
    labels = bricks()
    for rng in generators(8):
        divided = divide_cells(labels, rng, 0.5, 10.0)
        assert np.array_equal(divided > 0, labels > 0)
        number = 0
        for cell in np.unique(labels):
            names, counts = np.unique(divided[labels == cell], return_counts=True)
            assert len(names) in (1, 2)
            assert counts.min() > 200
            number += len(names)
        assert 64 * 1.2 < number < 64 * 1.8
        assert number == len(np.unique(divided))
    assert np.array_equal(divide_cells(labels, generators(1)[0], 0.0, 10.0) > 0, labels > 0)
    assert labels.max() == 30304


def test_a_half_lies_on_one_side_of_a_plane():
    divided = divide_cells(bricks(), generators(1)[0], 1.0, 10.0)
    number = 64
    middle = label_centroids(np.where(divided > number, divided, 0), 2 * number)
    other = label_centroids(np.where(divided > number, 0, divided), 2 * number)
    for cell in range(1, number + 1):
        axis = middle[cell + number] - other[cell]
        far, near = (np.argwhere(divided == c) @ axis for c in (cell + number, cell))
        assert np.median(far) > np.median(near)


def test_carving_empties_a_part_and_leaves_no_slivers():
    labels, sharp, whole = bricks(), 0, 0
    before = np.bincount(labels.ravel())
    for rng in generators(40):
        carved = carve(labels, rng, 10.0)
        assert set(np.unique(carved)) <= set(np.unique(labels)) | {0}
        assert np.array_equal(carved[carved > 0], labels[carved > 0])
        assert (carved > 0).any()
        after = np.bincount(carved.ravel(), minlength=len(before))[1:]
        assert (after[after > 0] >= before[1:][after > 0] / 3).all()
        cut = ((after > 0) & (after < before[1:])).any()
        sharp, whole = sharp + bool(cut), whole + bool(not cut and (carved == 0).any())
    assert sharp > 10
    assert whole > 5


def test_noise_is_smooth_and_within_one():
    for rng in generators(5):
        field = draw_noise(rng, SHAPE, 9.0)
        assert field.dtype == np.float32
        assert field.shape == SHAPE
        assert np.abs(field).max() <= 1
        assert field.std() > 0.1
        assert max(np.abs(np.diff(field, axis=a)).max() for a in range(3)) <= 2 * 1.5 / 9.0 + 1e-6


def test_all_follows_from_the_seed():
    make = [
        lambda rng: warp_array(bricks((90, 90, 90)), draw_warp(rng, SHAPE, 8.0, free=True)),
        lambda rng: divide_cells(bricks(), rng, 0.5, 10.0),
        lambda rng: carve(bricks(), rng, 10.0),
    ]
    for function in make:
        first, again = ([function(rng) for rng in generators(3)] for _ in range(2))
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
        assert not np.array_equal(first[0], first[1])
