"""What optics do to an image: each function is held to what it is named for, and to its seed."""

import numpy as np
import pytest

from bigcp3d.pure.optics import light

SHAPE = (20, 24, 28)


def points():
    """Single bright voxels, one in every third plane."""
    image = np.zeros(SHAPE, np.float32)
    image[1::3, 12, 14] = 1
    return image


def waves():
    """Bright everywhere, and varying slowly."""
    z, y, x = np.meshgrid(*(np.linspace(0, 3, n, dtype=np.float32) for n in SHAPE), indexing="ij")
    return 1 + 0.3 * np.sin(z + y * 2 + x)


DRAWN = {
    "shade": lambda image, rng: light.shade(image, rng, 0.5),
    "stripes": lambda image, rng: light.add_stripes(image, rng, 0.2),
    "flicker": lambda image, rng: light.flicker(image, rng, 0.2),
    "shifted": lambda image, rng: light.shift_planes(image, rng, 0.5),
}
FIXED = {
    "blur": lambda image: light.blur(image, (2.0, 1.0, 1.0)),
    "depth": lambda image: light.blur_with_depth(image, (0, 0, 0), (2, 2, 2)),
    "scatter": lambda image: light.scatter_with_depth(image, 0.5),
    "focus": lambda image: light.add_out_of_focus(image, 0.5),
    "fade": lambda image: light.fade(image, 0.5),
    "coarse": lambda image: light.coarsen_z(image, 3),
    "thin": lambda image: light.coarsen_z(image, 8, thin=True),
    "ring": lambda image: light.ring(image, 0.4),
    "deconvolved": lambda image: light.deconvolve_look(image, 1.0, 2.0),
}


@pytest.mark.parametrize("name", [*DRAWN, *FIXED])
def test_images_keep_shape_and_kind_and_the_input_stays(name):
    image, before = waves(), waves()
    if name in DRAWN:
        first, again, other = (DRAWN[name](image, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
    else:
        first = FIXED[name](image)
    assert first.dtype == np.float32
    assert first.shape == SHAPE
    assert not np.array_equal(first, image)
    assert np.array_equal(image, before)


def test_blur_grows_with_depth():
    peaks = light.blur_with_depth(points(), (0, 0, 0), (1.5, 1.5, 1.5))[1::3, 12, 14]
    assert np.all(np.diff(peaks) < 0)
    assert np.allclose(
        light.blur_with_depth(points()[::-1], (0, 0, 0), (1.5, 1.5, 1.5), from_below=True)[::-1][1::3, 12, 14], peaks
    )


def test_blur_keeps_light_and_widens_the_axis_that_it_is_told():
    image = np.zeros((21, 21, 21), np.float32)
    image[10, 10, 10] = 1
    wide = light.blur(image, (2.5, 0.8, 0.0))
    assert wide.sum() == pytest.approx(1, abs=1e-4)
    assert wide[12, 10, 10] > wide[10, 12, 10] > wide[10, 10, 12] == 0


def test_fading_takes_the_share_that_is_asked_at_the_deepest_plane():
    image = np.ones(SHAPE, np.float32)
    assert light.fade(image, 0.7)[[0, -1], 0, 0] == pytest.approx([1, 0.3], abs=1e-5)
    assert light.fade(image, 0.7, from_below=True)[[0, -1], 0, 0] == pytest.approx([0.3, 1], abs=1e-5)


def test_scattered_light_lies_beside_its_source():
    image = light.scatter_with_depth(points(), 0.8)
    assert image[-1, 12, 15] > image[1, 12, 15]
    assert image[19, 12, 14] < points()[19, 12, 14]


def test_thin_planes_show_one_plane_and_thick_ones_the_mean():
    image = np.zeros((16, 2, 2), np.float32)
    image[12] = 8  # the middle of the second group of eight
    assert light.coarsen_z(image, 8, thin=True).max() == 8
    assert light.coarsen_z(image, 8).max() == 1


def test_ringing_overshoots_at_an_edge():
    image = np.zeros(SHAPE, np.float32)
    image[:, :, 14:] = 1
    ringing = light.ring(image, 0.4)
    assert ringing.max() > 1.02
    assert ringing.min() < -0.02
    assert np.allclose(ringing.mean(), image.mean(), atol=1e-4)


def test_deconvolution_overshoots_and_cuts_off_below_the_floor():
    image = light.blur((points() > 0).astype(np.float32), (1, 1, 1))
    sharp = light.deconvolve_look(image, 1.0, 2.0)
    assert sharp.max() > image.max()
    assert sharp.min() == 0


def test_stripes_run_along_x_and_planes_flicker_as_a_whole():
    flat = np.ones(SHAPE, np.float32)
    assert np.ptp(light.add_stripes(flat, np.random.default_rng(0), 0.2), axis=2).max() == 0
    uneven = light.flicker(flat, np.random.default_rng(0), 0.2)
    assert np.ptp(uneven, axis=(1, 2)).max() == 0
    assert np.ptp(uneven) > 0.1
