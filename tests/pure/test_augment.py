"""Augmentation keeps image and labels together, pretends borders as prediction does, and is a function of its seed."""

import numpy as np
import pytest

from bigcp3d.pure.augment import Sample, add_haze, coarsen_z, cut_border, degrade, paint_walls, pure_noise, turn

CLIP = (-0.5, 2.5)
SHAPE = (10, 16, 16)


def sample():
    """An image that names its voxels, labels that follow from it."""
    image = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    return Sample(image, image.astype(np.int32) // 7 + 1, image % 5 > 0)


def generators(number=30):
    return [np.random.default_rng(seed) for seed in range(number)]


def test_turning_moves_image_and_labels_alike():
    for rng in generators():
        turned = turn(sample(), rng)
        assert np.array_equal(turned.labels, turned.image.astype(np.int32) // 7 + 1)
        assert np.array_equal(turned.known, turned.image % 5 > 0)


def test_turning_reaches_all_sixteen_poses():
    assert len({turn(sample(), rng).image.tobytes() for rng in generators(300)}) == 16


def test_a_pretended_border_reflects_the_image_and_hides_the_labels():
    cuts = 0
    for rng in generators(60):
        cut = cut_border(sample(), rng, probability=0.7)
        if cut.known.sum() == sample().known.sum():
            continue
        cuts += 1
        axis = next(a for a in range(3) if not cut.labels.any(axis=tuple({0, 1, 2} - {a}))[0])
        lost = int((~cut.labels.any(axis=tuple({0, 1, 2} - {axis}))).sum())
        image, labels, known = (np.moveaxis(part, axis, 0) for part in cut)
        assert not known[:lost].any()
        assert np.array_equal(labels[lost:], np.moveaxis(sample().labels, axis, 0)[lost:])
        expected = np.pad(image[lost:], ((lost, 0), (0, 0), (0, 0)), mode="reflect")
        assert np.array_equal(image, expected)
    assert 20 < cuts < 60


def test_coarse_planes_keep_what_varies_linearly_and_lose_what_varies_fast():
    z = np.arange(12, dtype=np.float32)[:, None, None] * np.ones((1, 3, 3), np.float32)
    for step in (1, 2, 3, 4, 5):
        np.testing.assert_allclose(coarsen_z(z, step)[4:8], z[4:8], atol=0.2 if step == 5 else 1e-5)
    fast = np.where(z % 2 > 0, 1, -1).astype(np.float32)
    assert np.abs(coarsen_z(fast, 2)).max() == 0
    assert np.array_equal(coarsen_z(fast, 1), fast)


@pytest.mark.parametrize("make", [
    lambda rng: degrade(sample().image / 1000, rng, CLIP),
    lambda rng: paint_walls(sample().labels, rng, 8.0, CLIP),
    lambda rng: pure_noise(SHAPE, rng),
])  # fmt: skip
def test_images_follow_from_the_seed_and_vary_with_it(make):
    images = [make(rng) for rng in (*generators(8), *generators(8))]
    assert all(np.array_equal(a, b) for a, b in zip(images[:8], images[8:], strict=True))
    assert len({image.tobytes() for image in images}) == 8
    assert all(image.dtype == np.float32 and image.shape == SHAPE and np.isfinite(image).all() for image in images)


def test_degraded_images_stay_within_the_clip_and_leave_their_input():
    image = sample().image
    for rng in generators():
        assert CLIP[0] <= degrade(image, rng, CLIP).min() <= degrade(image, rng, CLIP).max() <= CLIP[1]
    assert np.array_equal(image, sample().image)


def test_painted_walls_are_bright_where_cells_meet():
    labels = np.zeros((24, 40, 40), np.uint32)
    labels[4:20, 4:20, 4:36], labels[4:20, 20:36, 4:36] = 900, 5
    brighter = []
    for rng in generators(12):
        image = paint_walls(labels, rng, 16.0, CLIP)
        brighter.append(image[8:16, 19:21, 8:32].mean() > image[8:16, 10:14, 8:32].mean())
    assert all(brighter)
    alone = paint_walls(np.where(labels > 0, 1, 0), generators(1)[0], 16.0, CLIP)
    assert alone[8:16, 19:21, 8:32].mean() < alone[8:16, 3:6, 8:32].mean()


def test_haze_lies_outside_the_cells_and_comes_four_times_in_ten():
    image, labels = np.zeros((24, 40, 40), np.float32), np.zeros((24, 40, 40), np.uint32)
    labels[4:20, 4:20, 4:36] = 900
    hazy = [add_haze(image, labels, rng, CLIP) for rng in generators(200)]
    changed = [made for made in hazy if made.any()]
    assert 50 < len(changed) < 110
    for made in changed:
        assert made[:, 30:].mean() > 0.04
        assert np.abs(made[11:13, 11:13, 12:28]).max() < 0.01
        assert made.max() <= CLIP[1]
    assert not image.any()
