"""What a camera does to an image: each kind of noise has the statistics that it is named for, and follows its seed."""

import numpy as np
import pytest

from bigcp3d.pure.optics import camera, picture

SHAPE = (12, 40, 40)
FLAT = np.full(SHAPE, 0.5, np.float32)
NOISES = {
    "read": lambda image, rng: camera.add_read_noise(image, rng, 0.1),
    "shot": lambda image, rng: camera.add_shot_noise(image, rng, 50),
    "speckle": lambda image, rng: camera.add_speckle(image, rng, 0.2),
    "smooth": lambda image, rng: camera.add_smooth_noise(image, rng, 0.1),
    "fixed": lambda image, rng: camera.add_fixed_pattern(image, rng, 0.1),
    "hot": lambda image, rng: camera.add_hot_pixels(image, rng, 0.05, 3.0),
    "picture": lambda image, rng: picture.draw_picture(image, rng, (1.0, 1.0, 1.0), (-0.5, 2.5)),
}


@pytest.mark.parametrize("name", NOISES)
def test_noise_follows_from_the_seed_and_the_input_stays(name):
    image = FLAT.copy()
    first, again, other = (NOISES[name](image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.float32
    assert first.shape == SHAPE
    assert np.array_equal(image, FLAT)


def spread(name, level):
    return float(NOISES[name](np.full(SHAPE, level, np.float32), np.random.default_rng(0)).std())


def test_noise_grows_with_light_as_its_kind_does():
    assert spread("read", 2.0) == pytest.approx(spread("read", 0.5), rel=1e-3)
    assert spread("shot", 2.0) == pytest.approx(2 * spread("shot", 0.5), rel=0.05)
    assert spread("speckle", 2.0) == pytest.approx(4 * spread("speckle", 0.5), rel=1e-3)
    assert spread("shot", 0.5) == pytest.approx((0.5 / 50) ** 0.5, rel=0.05)


def test_what_is_below_zero_has_no_shot_noise():
    dark = np.full(SHAPE, -0.25, np.float32)
    assert np.array_equal(camera.add_shot_noise(dark, np.random.default_rng(0), 20), dark)


def test_noise_may_grow_with_depth():
    level = np.linspace(0.01, 0.3, SHAPE[0], dtype=np.float32)[:, None, None]
    planes = camera.add_read_noise(FLAT, np.random.default_rng(0), level).std(axis=(1, 2))
    assert planes == pytest.approx(level.ravel(), rel=0.1)


def test_neighbours_share_smooth_noise_alone():
    def alike(name):
        noise = NOISES[name](FLAT, np.random.default_rng(0)) - FLAT
        return np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1]

    assert alike("smooth") > 0.4
    assert abs(alike("read")) < 0.05


def test_a_pattern_is_the_same_in_every_plane():
    assert np.ptp(NOISES["fixed"](FLAT, np.random.default_rng(0)), axis=0).max() == 0


def test_hot_pixels_are_few_and_never_darker():
    image = NOISES["hot"](FLAT, np.random.default_rng(0))
    assert (image >= FLAT).all()
    assert 0.01 < (image > FLAT).mean() < 0.1


def test_saturation_and_grey_levels():
    image = np.random.default_rng(0).random(SHAPE, np.float32)
    assert (camera.saturate(image, 0.2) == camera.saturate(image, 0.2).max()).mean() == pytest.approx(0.2, abs=0.02)
    assert len(np.unique(camera.quantise(image, 5))) == 6
    assert camera.apply_gamma(np.float32([-0.25, 0.25]), 0.5).tolist() == [-0.5, 0.5]


def test_pictures_are_normalised_and_blurred_as_asked():
    image = np.zeros((16, 40, 40), np.float32)
    image[:, 10:30, 10:30] = 1
    for seed in range(40):
        found = picture.draw_picture(image, np.random.default_rng(seed), (1.0, 1.0, 1.0), (-0.5, 2.5))
        assert found.min() >= -0.5
        assert found.max() <= 2.5
        assert found[:, 12:28, 12:28].mean() > found[:, :8, :8].mean() + 0.1
    sigmas = np.array([picture.draw_blur(np.random.default_rng(seed), 20.0) for seed in range(200)])
    assert (sigmas[:, 1] == sigmas[:, 2]).all()
    assert (sigmas[:, 0] >= sigmas[:, 1]).all()
    assert sigmas[:, 0].max() / sigmas[sigmas[:, 0].argmax(), 1] > 1.5
