"""A tissue that is to look like an image gets its brightness, noise, blur and fading, without its labels."""

from dataclasses import replace

import numpy as np
import pytest

from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.tissue.match_look import match_look, measure_look
from bigcp3d.pure.tissue.tissue import render
from bigcp3d.pure.tissue.tissue_settings import Tissue, three

PLAIN = Tissue((48, 96, 96), 14.0, "nuclei", seed=1, empty=0.0)


def image_of(tissue, seed=9):
    return render(replace(tissue, seed=seed), Box.of_shape(tissue.shape))[0]


@pytest.mark.parametrize(
    ("blur", "noise", "attenuation", "background", "signal"),
    [((2.0, 1.2, 1.2), 0.1, 0.5, 300.0, 2500.0), ((1.0, 1.0, 1.0), 0.05, 0.1, 20.0, 200.0)],
)
def test_settings_are_found_again_from_the_image(blur, noise, attenuation, background, signal):
    given = replace(
        PLAIN, blur_vox=blur, noise=noise, attenuation=attenuation, background=background, signal=signal
    )  # fmt: skip
    found = match_look(PLAIN, image_of(given))
    assert np.array(three(found.blur_vox)) == pytest.approx(blur, rel=0.5)
    assert found.noise == pytest.approx(noise, rel=0.25)
    assert found.attenuation == pytest.approx(attenuation, abs=0.25)
    assert found.background == pytest.approx(background, abs=0.1 * signal)
    assert found.signal == pytest.approx(signal, rel=0.3)
    assert found.seed == PLAIN.seed


def test_what_is_measured_moves_as_the_image_does():
    plain = measure_look(image_of(PLAIN))
    blurred, noisy, faded, bright = (
        measure_look(image_of(replace(PLAIN, **change)))
        for change in (
            {"blur_vox": (1.5, 2.0, 2.0)}, {"noise": 0.3}, {"attenuation": 0.8}, {"signal": 3000.0},
        )
    )  # fmt: skip
    assert blurred.sharpness[1] < 0.7 * plain.sharpness[1]
    assert noisy.noise > 2 * plain.noise
    assert faded.fading > 2 * plain.fading
    assert bright.high > 2 * plain.high
    assert bright.noise == pytest.approx(plain.noise, rel=0.1)


def test_floats_from_0_to_1_are_matched_and_voxels_that_are_no_number_count_as_dark(caplog):
    image = image_of(replace(PLAIN, noise=0.05))
    small = ((image - 90.0) / 1500).astype(np.float32)
    with caplog.at_level("INFO"):
        found = match_look(PLAIN, small)
    assert "are scaled to 1000 counts" in caplog.text
    assert 300 < found.signal < 5000
    assert found.noise == pytest.approx(0.05, rel=0.5)
    assert len(np.unique(image_of(found))) > 500
    small[0, 0, :5], small[0, 1, :5] = np.nan, np.inf
    assert match_look(PLAIN, small).signal == pytest.approx(found.signal, rel=0.05)
    with pytest.raises(InputError, match="are NaN or infinite"):
        match_look(PLAIN, np.full((8, 16, 16), np.nan))


def test_the_smallest_image_is_measured():
    look = measure_look(image_of(PLAIN)[:8, :16, :16])
    assert np.isfinite(look.sharpness).all()


@pytest.mark.parametrize("planes", [1, 3])
def test_a_tissue_of_few_planes_is_matched(planes):
    thin, deep = (match_look(replace(PLAIN, shape=(n, 40, 40)), image_of(PLAIN)) for n in (planes, 8))
    assert thin.shape == (planes, 40, 40)
    assert thin.noise == pytest.approx(deep.noise, rel=0.1)


def test_a_flat_image_is_matched_as_far_as_settings_allow():
    found = match_look(PLAIN, np.full((16, 32, 32), 7, np.uint16))
    assert found.signal == 1
