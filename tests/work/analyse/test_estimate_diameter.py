"""The estimate of the cell diameter: what a model finds where its flow fits best."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import zarr
from scipy import ndimage
from typer.testing import CliRunner

from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.edge.models.model_families import load_card
from bigcp3d.errors import InputError
from bigcp3d.face.cli import app
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.cells.cell_sums import sum_cells
from bigcp3d.pure.cells.found import Found
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work.analyse import diameter_sample
from bigcp3d.work.analyse.crop_cells import CropCells
from bigcp3d.work.analyse.diameter_sample import CENTRES, crop_box, open_sample
from bigcp3d.work.analyse.estimate_diameter import estimate_diameter
from bigcp3d.work.simulate import simulate

DIAMETER_UM = 9.0
CARD = load_card("nuclei")


def write_balls(path, scale_um, shape_um=(60.0, 90.0, 90.0), *, stated=True):
    """Bright balls, 14 micrometres apart, in voxels of any size."""
    shape = tuple(round(u / s) for u, s in zip(shape_um, scale_um, strict=True))
    at = [((np.arange(n) + 0.5) * s) % 14.0 - 7.0 for n, s in zip(shape, scale_um, strict=True)]
    z, y, x = np.meshgrid(*at, indexing="ij")
    balls = (z**2 + y**2 + x**2 < (DIAMETER_UM / 2) ** 2).astype(np.uint16) * 1000
    image = create_image(path, shape, "uint16", scale_um=scale_um, chunk=shape, shard=shape)
    write_image_box(image, Box.of_shape(shape), balls)
    if not stated:
        group = zarr.open_group(path)
        ome = group.attrs["ome"]
        ome["multiscales"][0]["datasets"][0].pop("coordinateTransformations")
        group.attrs["ome"] = ome
    return path


def found_cells(labels, *, scatter=0.0):
    """Cells as a network would give them that knows cells of 1 / 1.4 of its diameter best."""
    sums = sum_cells(np.pad(labels, 1), (0, 0, 0), labels.shape, []).sums
    whole = ~np.any((sums.low == 0) | (sums.high == np.array(labels.shape)), axis=1)
    diameters = np.cbrt(6 / np.pi * sums.count)
    error = 0.1 + scatter + np.abs(np.log(1.4 * diameters / CARD.diameter_vox))
    return CropCells(sums.count, whole, error), Found(CARD.diameter_vox, labels.size, 0, 0, 0)


def bright_pieces(crop):
    """What is bright and connected is a cell, whatever diameter was told."""
    return found_cells(ndimage.label(crop[0] > 0.5)[0].astype(np.uint32))


@pytest.mark.parametrize("scale", [(1.0, 1.0, 1.0), (2.0, 0.5, 0.5), (0.7, 0.4, 0.4)])
def test_the_diameter_of_balls_is_found_whatever_the_voxels(tmp_path, scale):
    told = []
    found = estimate_diameter(write_balls(tmp_path / "a.zarr", scale), CARD, bright_pieces, on_event=told.append)
    assert found.in_um
    assert found.diameter == pytest.approx(DIAMETER_UM, rel=0.07)
    assert found.low <= found.diameter <= found.high <= 1.2 * DIAMETER_UM
    assert found.cells > 20
    assert not found.doubts
    assert told == list(found.trials)
    assert told[0].told > 2 * DIAMETER_UM, "it comes from above"
    assert told[-1].told > DIAMETER_UM / 3, "it ends soon after the cells are found"


def test_without_a_voxel_size_it_is_in_voxels(tmp_path):
    path = write_balls(tmp_path / "a.zarr", (0.5, 0.5, 0.5), stated=False)
    found = estimate_diameter(path, CARD, bright_pieces)
    assert not found.in_um
    assert found.diameter == pytest.approx(2 * DIAMETER_UM, rel=0.07)
    assert estimate_diameter(path, CARD, bright_pieces, scale_um=(1, 1, 1)).in_um


def test_threads_change_nothing(tmp_path):
    path = write_balls(tmp_path / "a.zarr", (1.0, 1.0, 1.0))
    one, three = (estimate_diameter(path, CARD, bright_pieces, threads=n) for n in (1, 3))
    assert [(t.told, *t.found) for t in one.trials] == [(t.told, *t.found) for t in three.trials]


def test_a_few_pieces_that_fit_by_chance_are_not_taken(tmp_path):
    """In a coarse crop there may be two or three pieces, whose flow fits well."""

    def mostly_right(crop):
        labels, number = ndimage.label(crop[0] > 0.5)
        if number > 4:
            return found_cells(labels.astype(np.uint32), scatter=0.1)
        at = np.indices(crop.shape[1:]) - np.reshape(crop.shape[1:], (3, 1, 1, 1)) / 2
        return found_cells(((at**2).sum(axis=0) < (CARD.diameter_vox / 2.8) ** 2).astype(np.uint32))

    found = estimate_diameter(write_balls(tmp_path / "a.zarr", (1.0, 1.0, 1.0)), CARD, mostly_right)
    assert found.diameter == pytest.approx(DIAMETER_UM, rel=0.07)


def test_crops_do_not_overlap(tmp_path):
    """Or a cell would count several times."""
    shape, cut = (100, 170, 90), (50, 85, 90)
    image = create_image(tmp_path / "a.zarr", shape, "uint16", scale_um=(1, 1, 1), chunk=cut, shard=cut)
    write_image_box(image, Box.of_shape(shape), np.arange(np.prod(shape)).astype(np.uint16).reshape(shape))
    sample = open_sample(tmp_path / "a.zarr", CARD)
    boxes = [crop_box(shape, (1.0, 1.0, 1.0), centre) for centre in CENTRES]
    assert len(set(boxes)) == 3
    for one, other in itertools.combinations(boxes, 2):
        assert one.intersect(other).empty
    assert len(sample.crops((1.0, 1.0, 1.0))) == 3
    assert len(sample.crops((3.0, 3.0, 3.0))) == 1, "one crop holds it all"


def cubes(crop, side):
    """Cells of one size wherever one looks, as a network that does not know the stain may find."""
    index = [np.arange(n) // (side + 1) for n in crop.shape[1:]]
    gap = [np.arange(n) % (side + 1) == side for n in crop.shape[1:]]
    counts = [int(i[-1]) + 1 for i in index]
    number = np.ravel_multi_index(tuple(np.meshgrid(*index, indexing="ij")), counts) + 1
    return np.where(np.any(np.meshgrid(*gap, indexing="ij"), axis=0), 0, number).astype(np.uint32)


def test_an_estimate_says_why_it_may_be_wrong(tmp_path):
    path = write_balls(tmp_path / "a.zarr", (1.0, 1.0, 1.0))

    def doubts(network, path=path):
        return "; ".join(estimate_diameter(path, CARD, network).doubts)

    assert not doubts(bright_pieces), "the control"
    assert "and may be noise" in doubts(lambda crop: found_cells(cubes(crop, 3 if crop.shape[2] > 70 else 30)))
    assert "hardly fits" in doubts(lambda crop: found_cells(cubes(crop, 10), scatter=0.6))
    few = write_balls(tmp_path / "few.zarr", (1.0, 1.0, 1.0), (14.0, 42.0, 28.0))
    assert re.search(r"comes from only \d cells", doubts(bright_pieces, few))


def test_where_no_cell_is_found_it_says_so(tmp_path):
    path = write_balls(tmp_path / "a.zarr", (1.0, 1.0, 1.0))
    with pytest.raises(InputError, match=r"finds no cells of any diameter .*look at the channel.*give --diameter"):
        estimate_diameter(path, CARD, lambda crop: found_cells(np.zeros(crop.shape[1:], np.uint32)))


def test_the_command_says_what_to_type_next(tmp_path, monkeypatch):
    monkeypatch.setattr(diameter_sample, "SMALLEST_VOX", 10.0)  # smaller diameters take longest
    simulate(tmp_path / "a.zarr", Tissue((32, 72, 72), 14.0, "nuclei", seed=1), scale_um=(0.5, 0.5, 0.5))
    done = CliRunner().invoke(app, ["estimate-diameter", str(tmp_path / "a.zarr"), "--model", "nuclei"])
    assert done.exit_code == 0, done.output
    guess = re.search(r"about ([\d.]+) micrometres \(10 to 90 % of \d+ cells: [\d.]+ to [\d.]+\)", done.stdout)
    assert guess
    assert float(guess[1]) == pytest.approx(7.0, rel=0.2)
    assert re.search(rf"bigcp3d segment .*a\.zarr --model nuclei --diameter {re.escape(guess[1])}\n", done.stdout)
