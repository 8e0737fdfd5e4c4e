"""What `--prepare` means: filters, sizes in micrometres or voxels of level 0, the same in space on every level."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.image.new_image import create_image
from bigcp3d.edge.image.preparation import describe_steps, parse_preparation, steps_of, warn_of_idle_steps
from bigcp3d.errors import InputError
from bigcp3d.pure.prepare.steps import FILTERS, Step


@pytest.fixture
def image(tmp_path):
    shape = (20, 40, 40)
    create_image(tmp_path / "image.zarr", shape, "uint16", scale_um=(2.0, 0.5, 0.5), chunk=shape, shard=shape)
    return open_image(tmp_path / "image.zarr")


def test_sizes_are_micrometres_or_voxels_of_the_finest_axis(image):
    found = steps_of("background:30 gaussian:1um median:3px clahe contrast:.5µm", image, 0)
    assert found == (
        Step("background", (15.0, 60.0, 60.0)),
        Step("gaussian", (0.5, 2.0, 2.0)),
        Step("median", (0.75, 3.0, 3.0)),
        Step("clahe", (16.0, 64.0, 64.0)),
        Step("contrast", (0.25, 1.0, 1.0)),
    )
    assert describe_steps(found[:1], (20, 40, 40)) == "background of 15 x 40 x 40 voxels"


@pytest.mark.parametrize("text", [None, "", "none", "  none "])
def test_nothing_is_asked_for(text):
    assert parse_preparation(text) == ()


def test_a_scale_that_is_given_counts(image):
    assert steps_of("gaussian:1", image, 0, (1.0, 1.0, 1.0)) == (Step("gaussian", (1.0, 1.0, 1.0)),)


def test_without_a_scale_micrometres_are_refused_and_voxels_taken(image):
    unknown = replace(image, levels=(replace(image.levels[0], scale_um=None),))
    assert steps_of("median:3px", unknown, 0) == (Step("median", (3.0, 3.0, 3.0)),)
    with pytest.raises(InputError, match=r"voxel size, which --prepare in micrometres needs; add --scale .* 3px"):
        steps_of("median:3", unknown, 0)


@pytest.mark.parametrize("text", ["sharpen:3", "Gaussian:1", "gaussian:1 blur", "none gaussian:1", ":3"])
def test_an_unknown_filter_is_refused_with_the_names_of_all(text):
    with pytest.raises(InputError, match=f"there is no filter .*{', '.join(FILTERS)}"):
        parse_preparation(text)


@pytest.mark.parametrize("text", ["gaussian", "median:", "gaussian:0", "gaussian:-1", "background:30mm", "median:3,5"])
def test_a_size_that_is_none_is_refused(text):
    with pytest.raises(InputError, match=r"has no size above 0; write \w+:30um"):
        parse_preparation(text)


def test_a_filter_of_one_voxel_is_told(image, caplog):
    steps = steps_of("median:1px gaussian:2px", image, 0)
    with caplog.at_level(logging.WARNING):
        warn_of_idle_steps(steps, image, 0)
    assert [record.getMessage().split(",")[0] for record in caplog.records] == ["prepare: median changes nothing"]
    assert np.array_equal(steps[0].radius((20, 40, 40)), (0, 0, 0))
