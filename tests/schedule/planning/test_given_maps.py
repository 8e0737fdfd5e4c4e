"""Maps from anywhere: the same numbers give the same labels in every dtype; what cannot be used is refused early."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import bigcp3d
from bigcp3d.errors import BlockError, InputError
from bigcp3d.schedule.running.events import BlockDone
from bigcp3d.work.plan.memory_and_disk import task_bytes
from tests.schedule.conftest import SHAPE, read_labels, write_image

SIDE = 12


def cells():
    """Maps of balls on a lattice: float64 (4, *SHAPE), foreground 0..1, flow towards the centres."""
    at = np.indices(SHAPE) % SIDE - (SIDE - 1) / 2
    return np.concatenate([((at**2).sum(axis=0, keepdims=True) < 25).astype(float), -np.tanh(at / 3)])


@pytest.fixture
def image(tmp_path):
    write_image(tmp_path / "image.zarr", (cells()[0] * 500 + 7).astype(np.uint16))
    return tmp_path / "image.zarr"


def run(image, maps, output, **more):
    settings = {"executor": "serial", "radius_vox": 5.0, "min_volume": 10, "block": (34, 60, 26), **more}
    summary = bigcp3d.segment(image, maps=maps, output=output, **settings)
    return read_labels(output, "cells"), summary


def write(path, values, **more):
    zarr.create_array(path, data=values, **more)
    return path


def test_float_and_int8_maps_of_the_same_numbers_give_the_same_labels(image, tmp_path):
    int8 = np.rint(127 * cells()).astype(np.int8)
    whole, summary = run(image, write(tmp_path / "int8", int8), tmp_path / "0.zarr", block=SHAPE)
    lattice = np.prod([n // SIDE for n in SHAPE])
    assert lattice <= summary.cells <= np.prod([-(-n // SIDE) for n in SHAPE])
    assert np.array_equal(np.unique(whole[cells()[0] == 0]), [0])
    for i, dtype in enumerate(("int8", "float16", "float32", "float64")):
        values = int8 if dtype == "int8" else (int8 / 127).astype(dtype)
        maps = write(tmp_path / f"{dtype}.zarr", values, chunks=(1 + i, 9, 20, 51))
        labels, _ = run(image, maps, tmp_path / f"{dtype}-out.zarr", max_flow_error=2.0)
        assert np.array_equal(labels, whole), dtype


def test_flows_that_point_away_give_no_such_cells(image, tmp_path):
    """The control of the sign that is documented: towards the centre."""
    values = cells().astype(np.float32)
    right, _ = run(image, write(tmp_path / "right", values), tmp_path / "1.zarr")
    values[1:] *= -1
    wrong, _ = run(image, write(tmp_path / "wrong", values), tmp_path / "2.zarr")
    assert not np.array_equal(right, wrong)
    inner = (SIDE // 2 + SIDE, SIDE // 2 + SIDE, SIDE // 2 + SIDE)
    ball = right == right[inner]
    assert len(np.unique(right[ball])) == 1 < len(np.unique(wrong[ball]))


def test_the_form_and_the_sign_are_in_the_help():
    from typer.testing import CliRunner

    from bigcp3d.face.cli import app

    text = " ".join(CliRunner().invoke(app, ["segment", "--help"], env={"COLUMNS": "1000"}).output.split())
    for words in ("towards the cell's centre", "voxels per step", "(4, Z, Y, X)", "negative"):
        assert words in text
    assert "towards the cell's centre" in " ".join(bigcp3d.segment.__doc__.split())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((4, 34, 60, 50), np.int8), r"shape \(4, 34, 60, 50\); use .*\(4, 34, 60, 51\)"),
        (np.zeros((3, *SHAPE), np.float32), r"shape \(3, 34, 60, 51\)"),
        (np.zeros((4, *SHAPE), np.uint16), "these maps are uint16"),
    ],
)
def test_maps_that_do_not_fit_are_refused_before_anything_is_written(image, tmp_path, values, message):
    maps = write(tmp_path / "maps.zarr", values)
    with pytest.raises(InputError, match=message):
        run(image, maps, tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()
    assert not list(tmp_path.glob("*.bigcp3d"))


def test_nan_in_maps_fails_the_block_that_reads_it(image, tmp_path):
    values = cells().astype(np.float32)
    values[1, 2, 3, 4] = np.nan
    with pytest.raises(BlockError, match=r"track of block \(0, 0, 0\).*1 NaN or infinite"):
        run(image, write(tmp_path / "maps.zarr", values), tmp_path / "out.zarr")


def test_memory_is_planned_for_the_dtype(image, tmp_path):
    needs = []
    for dtype in ("int8", "float32", "float64"):
        maps = write(tmp_path / f"{dtype}.zarr", np.zeros((4, *SHAPE), dtype))
        plan = bigcp3d.plan_segmentation(image, maps=maps, output=tmp_path / "o.zarr", radius_vox=5.0)
        needs.append(task_bytes(plan)["track"])
        assert plan.given.itemsize == np.dtype(dtype).itemsize
    assert needs[0] + 16 * np.prod(SHAPE) < needs[1] < needs[2]


def test_maps_of_many_time_points_serve_one_of_them(movie_store, tmp_path):
    random = np.random.default_rng(1).random((2, 4, 20, 40, 40), np.float32)
    maps = write(tmp_path / "maps.zarr", random, chunks=(1, 4, 20, 20, 20))
    both, _ = run(movie_store, maps, tmp_path / "both.zarr")
    one, _ = run(movie_store, maps, tmp_path / "one.zarr", time="1")
    assert one[1].any()
    assert np.array_equal(one[1], both[1])
    assert not one[0].any()


def test_a_run_is_not_carried_on_with_other_maps(image, tmp_path):
    def stop(event):
        if isinstance(event, BlockDone) and event.name == "track":
            raise KeyboardInterrupt

    again = {"maps": tmp_path / "maps", "output": tmp_path / "out.zarr", "work_dir": tmp_path / "work"}
    array = zarr.create_array(again["maps"], data=np.rint(127 * cells()).astype(np.int8))
    with pytest.raises(KeyboardInterrupt):
        run(image, on_event=stop, **again)
    kept, array[0, 5, 5, 5] = array[0, 5, 5, 5], -1  # another tool writes better maps to the same place
    with pytest.raises(InputError, match="these maps have changed since this run began"):
        run(image, **again)
    array[0, 5, 5, 5] = kept
    assert run(image, **again)[1].cells > 0
