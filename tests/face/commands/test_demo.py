"""The demo: the whole way on a small tissue, and a folder that is cleared only where it is the demo's own."""

import json

import pytest
from typer.testing import CliRunner

from bigcp3d.errors import BlockError, TargetError
from bigcp3d.face.cli import app
from bigcp3d.face.commands.run_demo import MARKER, check_against_serial, prepare_folder, quarter


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demo that ran, its folder and its output."""
    folder = tmp_path_factory.mktemp("demo")
    done = CliRunner().invoke(app, ["demo", str(folder), "--shape", "32", "64", "64", "--workers", "1", "--check"])
    assert done.exit_code == 0, done.output
    return folder, done


def test_the_demo_segments_draws_and_reports(demo):
    folder, done = demo
    assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")
    scores = json.loads((folder / MARKER).read_text())
    assert scores["whole_cells"]["mean_dice"] > scores["mean_dice"]
    assert f"whole cells ({scores['whole_cells']['true_cells']}): mean Dice" in done.stdout
    assert f"all cells, also those that the border cuts ({scores['true_cells']}): mean Dice" in done.stdout
    assert "cells in" in done.stdout
    assert "4 blocks" in done.stdout
    assert f"bigcp3d view {folder / 'tissue.zarr'}" in done.stdout
    assert "dashboard: http://127.0.0.1" in done.stderr
    assert "all 131,072 voxels equal those of the serial run" in done.stdout


def test_a_voxel_that_differs_from_the_serial_run_fails_the_check(demo, monkeypatch):
    from bigcp3d.face.commands import run_demo

    folder, _ = demo
    honest, asked = run_demo.read_box, []

    def read_box(info, *arguments, **options):
        voxels = honest(info, *arguments, **options)
        asked.append(info.path)
        if len(asked) == 2:
            voxels[3, 4, 5] += 1
        return voxels

    monkeypatch.setattr(run_demo, "segment", lambda *_, **__: None)
    monkeypatch.setattr(run_demo, "read_box", read_box)
    with pytest.raises(BlockError, match="1 of 131072 voxels differ"):
        check_against_serial(folder, (32, 64, 64), {})


@pytest.mark.parametrize("marker", [True, False])
def test_what_no_demo_wrote_is_left_alone(tmp_path, marker):
    (tmp_path / "thesis.txt").write_text("years of work")
    if marker:
        (tmp_path / MARKER).touch()
    with pytest.raises(TargetError, match=r"thesis\.txt"):
        prepare_folder(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_tissue_without_the_marker_is_left_alone(tmp_path):
    (tmp_path / "tissue.zarr").mkdir()
    with pytest.raises(TargetError, match=r"tissue\.zarr"):
        prepare_folder(tmp_path)
    assert (tmp_path / "tissue.zarr").is_dir()


def test_an_earlier_demo_is_cleared(tmp_path):
    folder = tmp_path / "new" / "demo"
    prepare_folder(folder)
    (folder / "picture.png").touch()
    (folder / "tissue.zarr").mkdir()
    (folder / ".tissue.zarr.partial").mkdir()  # of a simulation that was killed
    prepare_folder(folder)
    assert [path.name for path in folder.iterdir()] == [MARKER]


def test_seams_meet_in_the_middle():
    assert quarter((48, 191, 20)) == (48, 96, 10)
