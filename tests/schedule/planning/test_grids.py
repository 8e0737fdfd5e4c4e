"""Diameters in micrometres and in voxels, pyramid levels, labels on a coarser level: one grid, whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from ome_zarr_models.v05.image_label import ImageLabel

import bigcp3d
from bigcp3d.edge.image.image import open_labels
from bigcp3d.errors import InputError
from bigcp3d.schedule.sweep import plan_sweep
from tests.schedule.conftest import SHAPE, Case, read_labels, tissue_values

SCALE = (2.0, 0.5, 0.5)


def write_pyramid(path, scale=SCALE, factors=((1, 1, 1), (1, 2, 2), (2, 4, 4))):
    """An image with levels of means, as good writers make them."""
    values = tissue_values()
    group = zarr.create_group(path, zarr_format=3)
    datasets = []
    for number, f in enumerate(factors):
        shape = tuple(s // k for s, k in zip(SHAPE, f, strict=True))
        cut = values[tuple(slice(0, s * k) for s, k in zip(shape, f, strict=True))]
        (z, y, x), (a, b, c) = shape, f
        level = cut.reshape(z, a, y, b, x, c).mean(axis=(1, 3, 5)).round().astype(np.uint16)
        group.create_array(str(number), data=level, chunks=tuple(min(20, s) for s in shape))
        steps = [{"type": "scale", "scale": [s * k for s, k in zip(scale or (1, 1, 1), f, strict=True)]}]
        steps.append({"type": "translation", "translation": [s * (k - 1) / 2 for s, k in zip(scale or (1, 1, 1), f, strict=True)]})  # noqa: E501 # fmt: skip
        datasets.append({"path": str(number), **({"coordinateTransformations": steps} if scale else {})})
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    return path


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory):
    return write_pyramid(tmp_path_factory.mktemp("pyramid") / "image.zarr")


def plan(store, model, **settings):
    as_is = {} if any(name.startswith("diameter") for name in settings) else {"diameter_um": "as-is"}
    return bigcp3d.plan_segmentation(store, model=model, executor="serial", **as_is, **settings)


def test_a_diameter_in_voxels_counts_along_the_finest_axis(pyramid, random_model, tmp_path):
    in_um, in_vox = (plan(pyramid, random_model, **d) for d in ({"diameter_um": 4.0}, {"diameter_vox": 8.0}))
    assert in_um.key == in_vox.key
    assert in_vox.output.label_factors == pytest.approx((0.4, 1.6, 1.6))  # the model knows cells of 5 voxels
    bare = write_pyramid(tmp_path / "bare.zarr", scale=None)
    assert plan(bare, random_model, diameter_vox=10.0).output.label_factors == (2.0, 2.0, 2.0)
    assert plan(bare, random_model, diameter_vox=10.0, scale_um=(4, 1, 1)).output.label_factors == (0.5, 2.0, 2.0)
    with pytest.raises(InputError, match="--diameter-voxels"):
        plan(bare, random_model, diameter_um=10.0)
    with pytest.raises(InputError, match="leave one out"):
        plan(pyramid, random_model, diameter_um=10.0, diameter_vox=10.0)


@pytest.mark.parametrize(
    ("diameter", "level", "factors"),
    [
        ("as-is", 0, (1, 1, 1)),
        (4.9, 0, (0.49, 1.96, 1.96)),  # level 1 would be a little too coarse
        (10.0, 1, (1.0, 2.0, 2.0)),  # level 2 is too coarse in z
        (20.0, 2, (1.0, 2.0, 2.0)),
        (39.0, 2, (1.95, 3.9, 3.9)),
    ],
)
def test_the_coarsest_level_that_is_fine_enough_is_read(pyramid, random_model, diameter, level, factors):
    chosen = plan(pyramid, random_model, diameter_um=diameter)
    assert (chosen.source.level, chosen.sampling.factors) == (level, pytest.approx(factors))
    ratio = (1, 1, 1) if level == 0 else (1, 2, 2) if level == 1 else (2, 4, 4)
    assert chosen.output.label_factors == pytest.approx([f * r for f, r in zip(factors, ratio, strict=True)])
    assert plan(pyramid, random_model, diameter_um=diameter, level=0).source.level == 0, "as asked"
    assert plan(pyramid, random_model, level=1).output.label_factors == (1.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("diameter", "factors"),
    [
        (2.3, (0.23, 0.92, 0.92)),
        (2.4, (0.25, 1.0, 1.0)),  # 4 % too coarse in y and x: no reason to resample them
        (2.9, (0.25, 1.0, 1.0)),
        (3.1, (0.31, 1.24, 1.24)),
        (11.0, (1.0, 4.0, 4.0)),
    ],
)
def test_voxels_that_nearly_fit_stay_as_they_are(pyramid, random_model, diameter, factors):
    chosen = plan(pyramid, random_model, diameter_um=diameter)
    assert chosen.output.label_factors == pytest.approx(factors)
    assert any(f == 1 for f in chosen.sampling.factors) == (factors[2] not in (0.92, 1.24))


def test_a_sweep_reads_the_level_that_a_run_reads(pyramid, random_model, tmp_path):
    settings = {"diameter_um": 10.0, "model": random_model, "roi": "4:30,6:40,5:44"}
    sweep = plan_sweep(pyramid, {"min_volume": [2]}, **settings)
    assert sweep.plan.source.level == 1
    (trial,) = sweep.run()
    bigcp3d.segment(pyramid, output=tmp_path / "out.zarr", executor="serial", min_volume=2, **settings)
    assert trial.cells > 5
    assert np.array_equal(trial.labels, read_labels(tmp_path / "out.zarr", "cells")[sweep.region.slices()])


@pytest.fixture(scope="module")
def at_level_0(pyramid, random_model, tmp_path_factory):
    """Labels at level 0, read from level 1, of one block."""
    out = tmp_path_factory.mktemp("level0") / "out.zarr"
    settings = {"diameter_um": 10.0, "model": random_model, "executor": "serial", "min_volume": 2}
    bigcp3d.segment(pyramid, output=out, block=(999, 999, 999), **settings)
    return read_labels(out, "cells"), settings


@pytest.mark.parametrize("labels_level", [0, 1])
def test_labels_do_not_depend_on_the_block_on_any_level(pyramid, at_level_0, labels_level, tmp_path):
    expected, settings = at_level_0
    whole, cut = tmp_path / "whole.zarr", tmp_path / "cut.zarr"
    more = {**settings, "labels_level": labels_level}
    bigcp3d.segment(pyramid, output=whole, block=(999, 999, 999), **more)
    summary = bigcp3d.segment(pyramid, output=cut, block=(13, 17, 11), **more)
    labels = read_labels(whole, "cells")
    assert summary.blocks > 1
    assert np.array_equal(read_labels(cut, "cells"), labels)
    assert labels.max() > 20
    if labels_level == 0:
        assert np.array_equal(labels, expected)


def test_labels_on_a_coarser_level_lie_where_the_image_has_it(pyramid, at_level_0, tmp_path):
    expected, settings = at_level_0
    out = tmp_path / "out.zarr"
    bigcp3d.segment(pyramid, output=out, labels_level=1, **settings)
    labels = open_labels(out, "cells")
    image = zarr.open_group(pyramid).attrs["ome"]["multiscales"][0]["datasets"]
    assert [level.shape for level in labels.levels] == [(34, 30, 25), (17, 15, 12)]
    for level, dataset in zip(labels.levels, image[1:], strict=True):
        scale, shift = dataset["coordinateTransformations"]
        assert list(level.scale_um) == scale["scale"]
        assert list(level.translation_um) == pytest.approx(shift["translation"])
    ImageLabel.from_zarr(zarr.open_group(out / "labels" / "cells", mode="r"))
    coarse, fine = read_labels(out, "cells") > 0, expected[:, :60, :50] > 0
    share = fine.reshape(34, 30, 2, 25, 2).mean(axis=(2, 4))
    clear = (share == 0) | (share == 1)  # coarse voxels that no surface cuts
    assert np.mean(coarse[clear] == share[clear]) > 0.97
    moved = np.roll(share, 1, axis=1)
    assert np.mean(coarse[clear] == moved[clear]) < 0.9, "the control"


def test_labels_that_reach_beyond_a_level_that_was_rounded_down(random_model, tmp_path):
    """The working grid has 50 voxels along x, the image 51; the last one is labelled like the one before it."""
    path = write_pyramid(tmp_path / "image.zarr", scale=(0.5, 0.5, 0.5))
    settings = {"diameter_um": 2.5, "level": 1, "min_volume": 2}
    chosen = plan(path, random_model, **settings)
    assert (chosen.output.label_factors, chosen.shape) == ((1.0, 1.0, 1.0), (34, 60, 50))
    work = tmp_path / "work"
    bigcp3d.segment(
        path, output=tmp_path / "out.zarr", model=random_model, executor="serial", block=(13, 17, 11), work_dir=work,
        keep_maps=True, **settings,
    )  # fmt: skip
    labels = read_labels(tmp_path / "out.zarr", "cells")
    assert labels.any()
    assert np.array_equal(labels[:, :, 50], labels[:, :, 49])


def test_a_region_is_given_in_voxels_of_level_0_whatever_the_labels_level(pyramid, random_model):
    chosen = plan(pyramid, random_model, diameter_um=10.0, labels_level=1, roi="0:10,11:40,8:30")
    assert (chosen.where.roi.start, chosen.where.roi.stop) == ((0, 5, 4), (10, 20, 15))


def test_a_diameter_that_asks_too_much_of_every_level_is_refused(pyramid, random_model):
    assert plan(pyramid, random_model, diameter_um=100.0).sampling.factors == (5.0, 10.0, 10.0)
    with pytest.raises(InputError, match="would cover 20 voxels of level 2"):
        plan(pyramid, random_model, diameter_um=200.0)


@pytest.mark.parametrize(("diameter", "said"), [(3.0, "about 3.8 voxels wide, and"), (4.0, "")])
def test_cells_of_few_voxels_are_told(pyramid, random_model, caplog, diameter, said):
    plan(pyramid, random_model, diameter_um=diameter)
    assert said in caplog.text
    assert bool(caplog.messages) == bool(said)


@pytest.mark.parametrize(
    ("scale", "said"),
    [((4.0, 1.0, 1.0), "um (z, y, x), but --scale takes them for 4, 1, 1 um"), (None, "")],
)
def test_a_scale_that_is_not_that_of_the_image_is_told(pyramid, random_model, caplog, scale, said):
    plan(pyramid, random_model, diameter_um=8.0, scale_um=scale or tuple(1.005 * size for size in SCALE))
    assert said in caplog.text
    assert len(caplog.messages) == bool(said)


def test_a_scale_that_looks_swapped_is_told_once(pyramid, random_model, caplog):
    plan(pyramid, random_model, diameter_um=8.0, scale_um=SCALE[::-1])
    assert sum("x voxels are 4 times y voxels" in text for text in caplog.messages) == 1


def test_a_scale_of_0_is_refused_before_it_is_looked_at(pyramid, random_model):
    with pytest.raises(InputError, match=r"--scale is \(1, 0, 1\); use three positive numbers"):
        bigcp3d.estimate_diameter(pyramid, model=random_model, scale_um=(1, 0, 1))


def test_levels_that_are_not_there_are_refused(pyramid, random_model):
    for word in ("level", "labels_level"):
        with pytest.raises(InputError, match=r"there is no level 3 .* use 0 to 2"):
            plan(pyramid, random_model, **{word: 3})


def test_a_working_voxel_has_the_proportions_of_the_image_or_is_a_cube(tissue_store, random_model, tmp_path):
    """The filter on elongation counts in them."""
    case = Case(tissue_store, random_model, tmp_path)
    assert case.plan().voxel == (1.0, 0.5, 0.5)
    assert case.plan(diameter_um=4.0).voxel == (1.0, 1.0, 1.0)
