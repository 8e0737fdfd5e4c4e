"""A 3D model says so, before any work, to a volume or a working grid of one or two planes."""

import numpy as np
import pytest
import zarr

import bigcp3d
from bigcp3d.schedule.planning.few_planes import warn_of_few_planes
from tests.schedule.conftest import write_image


@pytest.mark.parametrize(
    ("shape", "scale", "diameter", "said"),
    [
        ((1, 40, 40), (1.0, 1.0, 1.0), "as-is", "the image has only 1 plane on axis z"),
        ((2, 40, 40), (1.0, 1.0, 1.0), 5.0, "the image has only 2 planes on axis z"),
        ((6, 40, 40), (1.0, 1.0, 1.0), 15.0, "after resampling, the image has only 2 planes on axis z"),
        ((6, 40, 40), (1.0, 1.0, 1.0), 5.0, None),
        ((40, 40, 2), (1.0, 1.0, 1.0), 5.0, "on axis x"),
    ],
)
def test_few_planes_are_told(tmp_path, random_model, caplog, shape, scale, diameter, said):
    image = write_image(tmp_path / "flat.zarr", np.ones(shape, np.uint8), scale_um=scale)
    bigcp3d.plan_segmentation(image.path, model=random_model, diameter_um=diameter, executor="serial")
    told = [text for text in caplog.messages if "The model is 3D" in text]
    assert len(told) == (said is not None)
    assert all(said in text and "--model cellpose:cpsam" in text for text in told)


def test_given_maps_and_models_of_planes_are_not_warned_of(tmp_path, caplog):
    image = write_image(tmp_path / "flat.zarr", np.ones((1, 40, 40), np.uint8))
    warn_of_few_planes(image, "cellpose:cpsam")
    zarr.save_array(tmp_path / "maps.zarr", np.zeros((4, 1, 40, 40), np.int8))
    bigcp3d.plan_segmentation(image.path, maps=tmp_path / "maps.zarr", executor="serial")
    assert not caplog.messages
