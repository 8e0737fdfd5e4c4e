"""Painted membrane images: walls where cells meet, finite and within the clip, a function of the seed."""

import numpy as np

from bigcp3d.pure.tissue.looks.paint_membranes import add_background_light, paint_membranes

CLIP = (-0.5, 2.5)


def generators(number):
    return [np.random.default_rng(seed) for seed in range(number)]


def two_cells():
    labels = np.zeros((24, 40, 40), np.uint32)
    labels[4:20, 4:20, 4:36], labels[4:20, 20:36, 4:36] = 900, 5
    return labels


def test_images_follow_from_the_seed_and_vary_with_it():
    labels = two_cells()
    images = [paint_membranes(labels, rng, 16.0, CLIP) for rng in (*generators(4), *generators(4))]
    assert all(np.array_equal(a, b) for a, b in zip(images[:4], images[4:], strict=True))
    assert len({image.tobytes() for image in images}) == 4
    assert all(image.dtype == np.float32 and image.shape == labels.shape for image in images)
    assert all(np.isfinite(image).all() and CLIP[0] <= image.min() and image.max() <= CLIP[1] for image in images)


def test_painted_walls_are_bright_where_cells_meet():
    labels = two_cells()
    alone = np.where(labels > 0, 1, 0)
    brighter, merged = [], []
    for rng, again in zip(generators(60), generators(60), strict=True):
        image, one = paint_membranes(labels, rng, 16.0, CLIP), paint_membranes(alone, again, 16.0, CLIP)
        for found, list_ in ((image, brighter), (one, merged)):
            list_.append(found[8:16, 19:21, 8:32].mean() - found[8:16, 10:14, 8:32].mean())
    assert np.mean(np.array(brighter) > 0) > 0.75  # double walls, bright nuclei and bright insides come too
    assert np.median(brighter) > 0.15 > np.median(merged)


def test_haze_lies_outside_the_cells_and_comes_four_times_in_ten():
    image, labels = np.zeros((24, 40, 40), np.float32), np.zeros((24, 40, 40), np.uint32)
    labels[4:20, 4:20, 4:36] = 900
    hazy = [add_background_light(image, labels, rng, CLIP) for rng in generators(200)]
    changed = [made for made in hazy if made.any()]
    assert 50 < len(changed) < 110
    for made in changed:
        assert made[:, 30:].mean() > 0.04
        assert np.abs(made[11:13, 11:13, 12:28]).max() < 0.01
        assert made.max() <= CLIP[1]
    assert not image.any()
