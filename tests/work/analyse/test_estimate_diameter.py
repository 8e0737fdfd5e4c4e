"""A first guess of the cell diameter: the told one that is found."""

from __future__ import annotations

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
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work.analyse.estimate_diameter import CENTRES, estimate_diameter
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


def bright_pieces(crop):
    """A perfect network: what is bright and connected is a cell, whatever diameter was told."""
    return ndimage.label(crop[0] > 0.5)[0].astype(np.uint32)


@pytest.mark.parametrize("scale", [(1.0, 1.0, 1.0), (2.0, 0.5, 0.5), (0.7, 0.4, 0.4)])
def test_the_diameter_of_balls_is_found_whatever_the_voxels(tmp_path, scale):
    told = []
    found = estimate_diameter(write_balls(tmp_path / "a.zarr", scale), CARD, bright_pieces, on_event=told.append)
    assert found.in_um
    assert found.diameter == pytest.approx(DIAMETER_UM, rel=0.07)
    assert found.low <= found.diameter <= found.high <= 1.2 * DIAMETER_UM
    assert told == list(found.trials)
    assert told[0].told > 2 * DIAMETER_UM, "it comes from above"


def test_without_a_voxel_size_it_is_in_voxels(tmp_path):
    path = write_balls(tmp_path / "a.zarr", (0.5, 0.5, 0.5), stated=False)
    found = estimate_diameter(path, CARD, bright_pieces)
    assert not found.in_um
    assert found.diameter == pytest.approx(2 * DIAMETER_UM, rel=0.07)
    assert estimate_diameter(path, CARD, bright_pieces, scale_um=(1, 1, 1)).in_um


def test_a_few_pieces_that_agree_by_chance_are_not_taken(tmp_path):
    """In a coarse crop there may be two or three pieces, and one of any size is among them."""
    calls = []

    def mostly_right(crop):
        calls.append(crop.shape)
        if len(calls) > len(CENTRES):
            return bright_pieces(crop)
        at = np.indices(crop.shape[1:]) - np.reshape(crop.shape[1:], (3, 1, 1, 1)) / 2
        return ((at**2).sum(axis=0) < (CARD.diameter_vox / 2) ** 2).astype(np.uint32)

    found = estimate_diameter(write_balls(tmp_path / "a.zarr", (1.0, 1.0, 1.0)), CARD, mostly_right)
    assert found.diameter == pytest.approx(DIAMETER_UM, rel=0.07)


def cubes(crop, side):
    """Cells of one size wherever one looks, as a network that does not know the stain may find."""
    index = [np.arange(n) // (side + 1) for n in crop.shape[1:]]
    gap = [np.arange(n) % (side + 1) == side for n in crop.shape[1:]]
    counts = [int(i[-1]) + 1 for i in index]
    number = np.ravel_multi_index(tuple(np.meshgrid(*index, indexing="ij")), counts) + 1
    return np.where(np.any(np.meshgrid(*gap, indexing="ij"), axis=0), 0, number).astype(np.uint32)


@pytest.mark.parametrize(("small_at_first", "doubted"), [(0, False), (3, True)])
def test_cells_as_small_as_noise_are_doubted(tmp_path, caplog, small_at_first, doubted):
    calls = []

    def network(crop):
        calls.append(crop)
        return cubes(crop, 5 if len(calls) <= len(CENTRES) * small_at_first else 11)

    found = estimate_diameter(write_balls(tmp_path / "a.zarr", (1.0, 1.0, 1.0)), CARD, network)
    assert (found.diameter < 6) == doubted
    assert ("may be noise" in caplog.text) == doubted


def test_where_no_cell_is_found_it_says_so(tmp_path):
    path = write_balls(tmp_path / "a.zarr", (1.0, 1.0, 1.0))
    with pytest.raises(InputError, match=r"found no diameter .*; look at a few cells in a viewer"):
        estimate_diameter(path, CARD, lambda crop: np.zeros(crop.shape[1:], np.uint32))


def test_the_command_says_what_to_type_next(tmp_path):
    simulate(tmp_path / "a.zarr", Tissue((32, 72, 72), 14.0, "nuclei", seed=1), scale_um=(0.5, 0.5, 0.5))
    done = CliRunner().invoke(app, ["estimate-diameter", str(tmp_path / "a.zarr"), "--model", "nuclei"])
    assert done.exit_code == 0, done.output
    guess = re.search(r"about ([\d.]+) micrometres \(10 to 90 % of \d+ cells: [\d.]+ to [\d.]+\)", done.stdout)
    assert guess
    assert float(guess[1]) == pytest.approx(7.0, rel=0.2)
    assert re.search(rf"bigcp3d segment .*a\.zarr --model nuclei --diameter {re.escape(guess[1])}\n", done.stdout)
