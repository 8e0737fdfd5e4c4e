"""Where to work: regions, masks and time points give what the whole volume's run gives there."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pytest
import torch
import zarr
from scipy import ndimage

import bigcp3d
from bigcp3d.edge.image.image import open_image
from bigcp3d.errors import InputError
from bigcp3d.pure.label.deciding_box import deciding_box
from bigcp3d.schedule.running.tasks import in_order, label_passes, object_passes
from bigcp3d.work.plan.task_inputs import Inputs
from tests.schedule.conftest import CUT, ERROR, KINDS, SHAPE, Case, left, tissue_values, write_image

REGIONS = ["5:30,8:50,10:45", "0:34,20:60,0:20", "12:13,:,:", "0:17,30:60,26:51"]
"""Odd, at the border, one plane thick, and blocks exactly."""


def box_of(region: str) -> tuple[slice, ...]:
    parts = [part.split(":") for part in region.split(",")]
    return tuple(slice(int(a or 0), int(b) if b else None) for a, b in parts)


def inside(labels: np.ndarray, box: tuple[slice, ...]) -> dict[int, frozenset[int]]:
    """Voxels of each cell that lies in the box whole."""
    outside = labels.copy()
    outside[box] = 0
    ids = np.setdiff1d(np.unique(labels[box]), np.append(np.unique(outside), 0))
    return {int(i): frozenset(np.flatnonzero(labels == i).tolist()) for i in ids}


def voxels_of(labels: np.ndarray) -> set[frozenset[int]]:
    """Voxels of each cell."""
    return {frozenset(np.flatnonzero(labels == i).tolist()) for i in np.unique(labels)}


@pytest.mark.parametrize(
    ("region", "more"),
    [
        (REGIONS[0], ERROR),
        (REGIONS[1], {}),
        (REGIONS[2], ERROR),
        (REGIONS[3], {}),
        *(pytest.param(region, {}, marks=pytest.mark.slow) for region in REGIONS[::2]),
        *(pytest.param(region, ERROR, marks=pytest.mark.slow) for region in REGIONS[1::2]),
    ],
)
def test_cells_inside_a_region_are_those_of_the_whole_volume(tissue_store, random_model, tmp_path, region, more):
    case = Case(tissue_store, random_model, tmp_path, **more)
    whole, box = case.whole(), box_of(region)
    found = case.segment(roi=region)
    expected = inside(whole, box)
    assert region == "12:13,:,:" or len(expected) > 3, "the test has cells to look at"
    assert set(expected.values()) <= voxels_of(found)
    outside = found.copy()
    outside[box] = 0
    assert not outside.any(), "nothing is written outside the region"
    assert np.array_equal(np.unique(found), np.arange(found.max() + 1)), "ids are dense"


def test_cells_of_a_region_far_from_the_origin_on_another_grid_are_those_of_the_whole_volume(random_model, tmp_path):
    """The first block of each axis lies outside of the region, and the maps are removed early."""
    write_image(tmp_path / "image.zarr", tissue_values((20, 80, 80)), scale_um=(1.0, 1.0, 1.0))
    case = Case(str(tmp_path / "image.zarr"), random_model, tmp_path, diameter_um=7.0, block=(12, 20, 20))
    region = "8:20,40:80,40:80"
    plan = case.plan(roi=region)
    inputs = Inputs(plan)
    for index in plan.label_grid(0).touching(plan.scope.wanted):
        part = plan.label_grid(0).core(index).intersect(plan.scope.wanted)
        needed = deciding_box(part, plan.output.label_factors, plan.shape)
        assert inputs.of("label", index)["maps"] == plan.intermediate_grid("maps").touching(needed)
        assert inputs.of("label", index)["offsets"] == plan.grid.touching(needed)
    found, expected = case.segment(roi=region), inside(case.whole(), box_of(region))
    assert len(expected) > 3
    assert set(expected.values()) <= voxels_of(found)


def test_the_whole_region_changes_nothing(tissue_store, random_model, tmp_path):
    case = Case(tissue_store, random_model, tmp_path)
    assert case.plan(roi="0:34,:,:").key == case.plan().key


def test_a_region_beyond_the_volume_is_cut_with_a_warning(tissue_store, random_model, tmp_path, caplog):
    case = Case(tissue_store, random_model, tmp_path)
    expected = case.plan(roi="5:34,8:50,10:51").key
    assert not caplog.records, "control: a region that fits gives no warning"
    assert case.plan(roi="5:100,8:50,10:60").key == expected
    (record,) = caplog.records
    assert "beyond the volume of (34, 60, 51) voxels" in record.message
    assert "at z 5:100, x 10:60; it is cut to 5:34,8:50,10:51 (--roi)" in record.message


@pytest.mark.parametrize(
    ("diameter_um", "block"),
    [
        (3.0, (29, 60, 21)),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in [(3.0, (17, 30, 26)), *(("as-is", b) for b in [(17, 30, 26), (9, 13, 51), (34, 60, 5)])]
        ),
    ],
)
def test_a_region_does_not_depend_on_the_block(tissue_store, random_model, tmp_path, diameter_um, block):
    case = Case(tissue_store, random_model, tmp_path, **ERROR, roi=REGIONS[0], diameter_um=diameter_um)
    expected = case.whole()
    assert expected.max() > 20
    assert np.array_equal(case.segment(block=block), expected)


def drift(network, patches):
    """In the network's place: bright voxels are cells, and bright and dim ones flow down along x."""
    still = torch.zeros_like(patches)
    return torch.cat([(patches > 0.75).float(), still, still, -(patches > 0.25).float()], dim=1)


def test_a_region_too_narrow_for_what_its_cells_need_would_be_seen(random_model, tmp_path, monkeypatch):
    """The control: pairs of touching cells at the region's border, whose paths end five voxels apart outside it.

    Where the region is too narrow, the patch in which the longer paths end is not computed. They stop beside the
    shorter ones, and each pair becomes one cell.
    """
    from bigcp3d.pure.predict import run_network as predict
    from bigcp3d.work.plan.scope import Scope

    values, region = np.zeros(SHAPE, np.uint16), "5:30,8:50,28:51"
    for z, y in itertools.product((8, 14, 20), (10, 20, 30, 40)):
        values[z : z + 3, y : y + 6, 28:30] = 1000
        values[z : z + 3, y : y + 3, 9:28] = values[z : z + 3, y + 3 : y + 6, 14:28] = 500
    write_image(tmp_path / "pairs.zarr", values)
    monkeypatch.setattr(predict, "run_network", drift)
    settings = {"radius_vox": 7.0, "closing_vox": 1, "block": (17, 30, 51)}
    case = Case(str(tmp_path / "pairs.zarr"), random_model, tmp_path, **settings)
    expected = inside(case.whole(), box_of(region))
    assert len(expected) == 24
    assert set(expected.values()) <= voxels_of(case.segment("wide.zarr", roi=region))
    enough = Scope.of
    monkeypatch.setattr(Scope, "of", lambda *args, **kw: enough(*args, reach=1, closing=0))
    narrow = case.segment("narrow.zarr", roi=region)
    assert narrow.max() == 12
    assert not set(expected.values()) & voxels_of(narrow)


def test_a_region_computes_only_the_patches_that_it_needs(tissue_store, random_model, tmp_path):
    case = Case(tissue_store, random_model, tmp_path, radius_vox=1.0)
    plan = case.plan(roi="0:6,0:6,0:6")
    names = [task.key[0] for task in [*in_order(object_passes(plan)), *in_order(label_passes(plan))]]
    everything = [task.key[0] for task in [*in_order(object_passes(case.plan())), *in_order(label_passes(case.plan()))]]
    assert names.count("predict") < everything.count("predict")
    assert names.count("label") == 1 < everything.count("label")


def test_intermediates_of_a_region_go_too(tissue_store, random_model, tmp_path, monkeypatch):
    from bigcp3d.schedule import segment as module

    case = Case(tissue_store, random_model, tmp_path, **ERROR, block=(34, 30, 26))
    seen = []
    real = module.clean_up
    monkeypatch.setattr(module, "clean_up", lambda *run: (seen.append(left(case.work)), real(*run)))
    case.segment(roi=REGIONS[0])
    assert [seen[0][kind] for kind in KINDS] == [0, 0, 0, 0]


@pytest.fixture(scope="module")
def mask_store(tmp_path_factory):
    """Masks that cross every seam: at the image's resolution, and at half of it."""
    rng = np.random.default_rng(0)
    coarse = np.zeros((17, 30, 26), np.uint8)
    for _ in range(6):
        corner = [int(rng.integers(0, s - 6)) for s in coarse.shape]
        coarse[tuple(slice(a, a + int(rng.integers(4, 14))) for a in corner)] = 200
    fine = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)[tuple(slice(s) for s in SHAPE)]
    folder = tmp_path_factory.mktemp("masks")
    write_image(folder / "fine.zarr", fine, scale_um=(1.0, 0.5, 0.5))
    write_image(folder / "coarse.zarr", coarse, scale_um=(2.0, 1.0, 1.0))
    return folder, fine > 0


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("fine", (17, 30, 26)),
        pytest.param("fine", (13, 31, 23), marks=pytest.mark.slow),
        pytest.param("coarse", (34, 60, 51), marks=pytest.mark.slow),
    ],
)
def test_a_mask_gives_the_labels_of_maps_without_foreground_outside_it(
    tissue_store, tissue_maps, random_model, mask_store, tmp_path, name, block
):
    folder, inside_mask = mask_store
    case = Case(tissue_store, random_model, tmp_path, **ERROR, block=(34, 60, 51))
    maps = np.asarray(zarr.open_array(tissue_maps / "t0" / "maps", mode="r")[...])
    maps[0] *= inside_mask
    zarr.save_array(tmp_path / "masked.zarr", maps)
    expected = case.segment("given.zarr", maps=tmp_path / "masked.zarr", work_dir=tmp_path / "given", radius_vox=2.5)
    assert expected.max() > 20
    assert expected.max() < case.whole().max()
    assert np.array_equal(case.segment(mask=folder / f"{name}.zarr", block=block), expected)


def test_labels_on_another_grid_end_at_the_mask_whatever_the_block(tissue_store, random_model, mask_store, tmp_path):
    folder, inside_mask = mask_store
    case = Case(tissue_store, random_model, tmp_path, diameter_um=6.0, mask=folder / "fine.zarr")
    expected = case.whole()
    near = ndimage.maximum_filter(inside_mask.astype(np.uint8), 5) > 0  # two voxels, as many as a working voxel has
    assert expected[inside_mask].any()
    assert not expected[~near].any()
    assert np.array_equal(case.segment(block=(9, 13, 11)), expected)


def test_patches_far_from_the_mask_are_not_computed(tissue_store, random_model, tmp_path, monkeypatch):
    from bigcp3d.pure.predict import run_network as predict

    corner = np.zeros(SHAPE, np.uint8)
    corner[:4, :4, :4] = 1
    write_image(tmp_path / "corner.zarr", corner, scale_um=(1.0, 0.5, 0.5))
    counts = []
    real = predict.run_network
    monkeypatch.setattr(predict, "run_network", lambda net, patches: (counts.append(1), real(net, patches))[1])
    case = Case(tissue_store, random_model, tmp_path, radius_vox=1.0, block=(34, 60, 51))
    case.segment()
    everything = len(counts)
    case.segment("corner_out.zarr", mask=tmp_path / "corner.zarr", work_dir=tmp_path / "w")
    assert 0 < len(counts) - everything < everything


def test_empty_space_is_predicted_once(random_model, tmp_path, monkeypatch):
    """A mosaic with empty corners: fewer runs of the network, and the labels are those of all the runs."""
    from bigcp3d.pure.predict import run_network as predict
    from tests.schedule.conftest import tissue_values

    values = tissue_values((20, 100, 100))
    values[:, 40:] = 0
    values[:, :, 60:] = 0
    write_image(tmp_path / "mosaic.zarr", values)
    counts = []
    real = predict.run_network
    monkeypatch.setattr(predict, "run_network", lambda net, patches: (counts.append(1), real(net, patches))[1])
    case = Case(str(tmp_path / "mosaic.zarr"), random_model, tmp_path, block=(40, 50, 50))
    found, skipping = case.segment(), len(counts)
    monkeypatch.setattr(predict, "_only_values", lambda *args: None)
    expected = case.segment("all.zarr", work_dir=tmp_path / "w")
    assert skipping < (len(counts) - skipping) * 0.7
    assert np.array_equal(found, expected)
    assert found.max() > 20


@pytest.mark.parametrize(
    ("time", "present"),
    [
        ("1", [1]),
        ("0:1", [0]),
        pytest.param(":", [0, 1], marks=pytest.mark.slow),
        pytest.param("1:", [1], marks=pytest.mark.slow),
    ],
)
def test_a_subset_of_time_points_gives_their_labels_alone(movie_store, random_model, tmp_path, time, present):
    case = Case(movie_store, random_model, tmp_path, block=(20, 40, 20))
    whole, found = case.whole(), case.segment(time=time)
    for t in range(2):
        assert np.array_equal(found[t], whole[t] if t in present else np.zeros_like(whole[t]))


def test_a_region_on_workers_of_dask(tissue_store, random_model, mask_store, two_workers, tmp_path):
    case = Case(tissue_store, random_model, tmp_path, **ERROR, roi=REGIONS[0], mask=mask_store[0] / "coarse.zarr")
    expected = case.whole()
    assert expected.any()
    found = case.segment(**two_workers)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"roi": "5:30,8:50"}, "Z0:Z1"),
        ({"roi": "5:30,8:50,a:b"}, "Z0:Z1"),
        ({"roi": "30:5,8:50,10:45"}, "holds no voxel"),
        ({"roi": "100:130,8:50,10:45"}, "holds no voxel"),
        ({"time": "7"}, "time point 7"),
        ({"time": "3:x"}, "use 0 to 0"),
        ({"time": "4:9"}, "holds no time point"),
        ({"mask": "/nowhere.zarr"}, "nowhere"),
    ],
)
def test_what_names_no_voxel_is_refused(tissue_store, random_model, tmp_path, settings, said):
    with pytest.raises(InputError, match=said):
        Case(tissue_store, random_model, tmp_path).plan(**settings)


def test_a_mask_of_another_volume_is_refused(tissue_store, random_model, tmp_path):
    write_image(tmp_path / "other.zarr", np.ones((20, 60, 51), np.uint8), scale_um=(1.0, 0.5, 0.5))
    with pytest.raises(InputError, match="covers"):
        Case(tissue_store, random_model, tmp_path).plan(mask=tmp_path / "other.zarr")


def test_micrometres_are_those_of_the_image(tissue_store, random_model, tmp_path):
    case = Case(tissue_store, random_model, tmp_path)
    plan = case.plan(roi="5:30,4:25,5:22.5um")
    assert plan.where.roi == case.plan(roi="5:30,8:50,10:45").where.roi


def test_micrometres_are_those_that_the_user_says(tissue_store, random_model, tmp_path):
    settings = {"model": random_model, "output": tmp_path / "o.zarr", **CUT}
    for scale, stop in ((None, (10, 20, 20)), ((2.0, 2.0, 1.0), (5, 5, 10))):
        plan = bigcp3d.plan_segmentation(tissue_store, roi="0:10,0:10,0:10um", scale_um=scale, **settings)
        assert plan.where.roi.stop == stop


def test_labels_of_a_region_survive_a_stop(tissue_store, random_model, tmp_path, monkeypatch):
    from bigcp3d.schedule.running import serial

    case = Case(tissue_store, random_model, tmp_path, roi=REGIONS[0])
    expected, calls = case.whole(), itertools.count()
    real = serial.perform

    def stop_after(*args, **kw):
        if next(calls) == 9:
            raise KeyboardInterrupt
        return real(*args, **kw)

    monkeypatch.setattr(serial, "perform", stop_after)
    with pytest.raises(KeyboardInterrupt):
        case.segment()
    monkeypatch.setattr(serial, "perform", real)
    assert np.array_equal(case.segment(), expected)


def test_maps_of_the_whole_volume_serve_a_region_and_not_the_other_way_round(
    tissue_store, tissue_maps, random_model, tmp_path
):
    case, part = Case(tissue_store, random_model, tmp_path, block=(34, 30, 51)), tmp_path / "part.bigcp3d"
    expected = case.segment("part.zarr", roi=REGIONS[0], keep_maps=True, work_dir=part / "cells")
    found = case.segment("from.zarr", roi=REGIONS[0], maps=tissue_maps, work_dir=tmp_path / "w", radius_vox=2.5)
    assert np.array_equal(found, expected)
    with pytest.raises(InputError, match="in a region or a mask only"):
        case.plan(start="maps", work_dir=part / "other")
    found = case.segment("f.zarr", roi=REGIONS[0], maps=part / "cells", work_dir=tmp_path / "v", radius_vox=2.5)
    assert np.array_equal(found, expected)


def test_maps_of_a_mask_serve_that_mask_alone(tissue_store, random_model, mask_store, tmp_path):
    case = Case(tissue_store, random_model, tmp_path, block=(34, 60, 51))
    fine, coarse = (mask_store[0] / f"{name}.zarr" for name in ("fine", "coarse"))
    expected = case.segment("kept.zarr", mask=fine, keep_maps=True, work_dir=tmp_path / "kept", radius_vox=2.5)
    again = {"maps": tmp_path / "kept", "radius_vox": 2.5}
    assert np.array_equal(case.segment("a.zarr", mask=fine, work_dir=tmp_path / "a", **again), expected)
    for more in ({}, {"mask": coarse}, {"mask": fine, "radius_vox": 3.5}):
        with pytest.raises(InputError, match="hold nothing outside it"):
            case.plan(work_dir=tmp_path / "b", **{**again, **more})


def test_a_mask_that_was_changed_is_another_mask(tissue_store, random_model, mask_store, tmp_path):
    """A run that was begun with the old one is not carried on, and its kept maps do not serve the new one."""
    case, mask = Case(tissue_store, random_model, tmp_path, block=(34, 60, 51)), tmp_path / "mask.zarr"
    shutil.copytree(mask_store[0] / "fine.zarr", mask)
    case.segment("kept.zarr", mask=mask, keep_maps=True, work_dir=tmp_path / "kept", radius_vox=2.5)
    begun = case.plan(mask=mask)
    labelled = zarr.open_group(mask).create_group("labels")  # as a run writes them whose mask is its own image
    labelled.attrs["ome"] = {"version": "0.5", "labels": ["cells"]}
    labelled.create_group("cells")
    assert open_image(mask).label_names
    assert case.plan(mask=mask).differences(begun) == []
    finest = open_image(mask).levels[0].path
    changed = np.asarray(zarr.open_group(mask)[finest][...])
    changed[..., 1:] = changed[..., :-1].copy()
    zarr.open_group(mask)[finest][...] = changed
    assert "where.mask_voxels" in " ".join(case.plan(mask=mask).differences(begun))
    with pytest.raises(InputError, match="hold nothing outside it"):
        case.plan(mask=mask, maps=tmp_path / "kept", work_dir=tmp_path / "a", radius_vox=2.5)


@pytest.mark.parametrize("slab", [1, 700, 2**22])
def test_a_mask_is_read_in_planes_that_do_not_matter(
    tissue_store, random_model, mask_store, tmp_path, monkeypatch, slab
):
    from bigcp3d.pure.boxes import Box
    from bigcp3d.work.passes import mask as module
    from bigcp3d.work.run.run import Run

    folder, inside_mask = mask_store
    case = Case(tissue_store, random_model, tmp_path)
    monkeypatch.setattr(module, "SLAB_VOX", slab)
    for name in ("fine", "coarse"):
        run = Run(case.plan(mask=folder / f"{name}.zarr"))
        box = Box((3, 5, 7), (31, 58, 40))
        assert np.array_equal(module.read_mask(run, 0, box), inside_mask[box.slices()])
