"""Augmentation keeps image and labels together, pretends borders as prediction does, and is a function of its seed."""

import numpy as np
import pytest

from bigcp3d.pure.learn.augment import SAME, Sample, cut_border, degrade, pure_noise, turn
from bigcp3d.pure.optics.light import coarsen_z

CLIP = (-0.5, 2.5)
SHAPE = (10, 16, 16)


def sample():
    """An image that names its voxels, labels that follow from it."""
    image = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    return Sample(image[None], image.astype(np.int32) // 7 + 1, image % 5 > 0)


def generators(number=30):
    return [np.random.default_rng(seed) for seed in range(number)]


def test_turning_moves_image_and_labels_alike():
    for rng in generators():
        turned = turn(sample(), rng)
        assert np.array_equal(turned.labels, turned.image[0].astype(np.int32) // 7 + 1)
        assert np.array_equal(turned.known, turned.image[0] % 5 > 0)


def test_turning_reaches_all_sixteen_poses():
    assert len({turn(sample(), rng).image.tobytes() for rng in generators(300)}) == 16


def test_a_pretended_border_reflects_the_image_and_hides_the_labels():
    seen = set()
    for rng in generators(150):
        cut = cut_border(sample(), rng, probability=0.3)
        (image,), labels, known = sample()
        for axis in range(3):
            kept = np.flatnonzero(cut.labels.any(axis=tuple({0, 1, 2} - {axis})))
            low, high = int(kept[0]), SHAPE[axis] - 1 - int(kept[-1])
            if not low and not high:
                continue
            seen.add((axis, low > 0, high > 0))
            inner = slice(low, SHAPE[axis] - high)
            image, *others = (np.moveaxis(part.copy(), axis, 0) for part in (image, labels, known))
            image = np.pad(image[inner], ((low, high), (0, 0), (0, 0)), mode="reflect")
            for part in others:
                part[:low] = part[inner.stop :] = 0
            image, labels, known = (np.moveaxis(part, 0, axis) for part in (image, *others))
        for found, expected in zip(cut, (image[None], labels, known), strict=True):
            assert np.array_equal(found, expected)
    assert len(seen) == 9  # the low end, the high end, both


def test_coarse_planes_keep_what_varies_linearly_and_lose_what_varies_fast():
    z = np.arange(12, dtype=np.float32)[:, None, None] * np.ones((1, 3, 3), np.float32)
    for step in (1, 2, 3, 4, 5):
        np.testing.assert_allclose(coarsen_z(z, step)[4:8], z[4:8], atol=0.2 if step == 5 else 1e-5)
    fast = np.where(z % 2 > 0, 1, -1).astype(np.float32)
    assert np.abs(coarsen_z(fast, 2)).max() == 0
    assert np.array_equal(coarsen_z(fast, 1), fast)


@pytest.mark.parametrize("make", [
    lambda rng: degrade(sample().image[0] / 1000, rng, CLIP),
    lambda rng: pure_noise(SHAPE, rng),
])  # fmt: skip
def test_images_follow_from_the_seed_and_vary_with_it(make):
    images = [make(rng) for rng in (*generators(8), *generators(8))]
    assert all(np.array_equal(a, b) for a, b in zip(images[:8], images[8:], strict=True))
    assert len({image.tobytes() for image in images}) == 8
    assert all(image.dtype == np.float32 and image.shape == SHAPE and np.isfinite(image).all() for image in images)


def test_degraded_images_stay_within_the_clip_and_leave_their_input():
    (image,) = sample().image
    for rng in generators():
        assert CLIP[0] <= degrade(image, rng, CLIP).min() <= degrade(image, rng, CLIP).max() <= CLIP[1]
    assert np.array_equal(image, sample().image[0])


def test_some_images_change_in_brightness_alone():
    image = sample().image[0] / 1000
    image = (image - image.mean()) / (4 * image.std()) + 0.5  # inside the clip

    def is_linear(rng):
        found = degrade(image, rng, (-9, 9))
        return np.corrcoef(found.ravel(), image.ravel())[0, 1] > 1 - 1e-6

    assert abs(np.mean([is_linear(rng) for rng in generators(200)]) - SAME) < 0.12
