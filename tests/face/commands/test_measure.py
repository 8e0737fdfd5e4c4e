"""``bigcp3d measure`` from the command line."""

from __future__ import annotations

import csv
import importlib.util

import pytest
from typer.testing import CliRunner

import bigcp3d
from bigcp3d.face.cli import app
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work.simulate import simulate


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("measure") / "tissue.zarr"
    simulate(path, Tissue((16, 40, 40), 12.0, "nuclei"), scale_um=(1.0, 1.0, 1.0))
    return path


def run(*words):
    return CliRunner().invoke(app, ["measure", *map(str, words)])


def test_a_table_is_written_where_it_was_asked_for_and_said_in_a_line(store, tmp_path):
    done = run(store, "--name", "truth", "--output", tmp_path / "cells.csv")
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader((tmp_path / "cells.csv").read_text().splitlines()))
    assert f"{len(rows)} cells" in done.stdout
    assert {"label", "volume_um3", "neighbours", "mean_channel0", "touches_border"} < set(rows[0])
    assert run(store, "--name", "truth").exit_code == 0
    assert (store / "tables" / "truth").is_dir()


def test_without_anndata_the_table_is_a_file_beside_the_store_unless_one_in_the_store_is_asked_for(store, monkeypatch):
    find, tables = importlib.util.find_spec, store / "tables"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "anndata" else find(name))
    done = run(store, "--name", "truth")
    assert done.exit_code == 0, done.output
    file = store.parent / f"{store.stem}.truth.csv"
    assert done.stdout.startswith(f"{file}: ")
    assert "volume_um3" in file.read_text()
    monkeypatch.setattr("bigcp3d.schedule.measure.measure_block", None)  # a call would raise a TypeError
    done = run(store, "--name", "truth", "--output", "zarr")
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{tables}/truth: a table in the store needs the package anndata" in done.stderr
    assert 'pip install "bigcp3d[anndata]"' in done.stderr
    assert "--output cells.csv" in done.stderr


def test_without_permission_a_table_in_the_store_is_refused_before_anything_is_measured(store, monkeypatch):
    monkeypatch.setattr("bigcp3d.schedule.measure.measure_block", None)  # a call would raise a TypeError
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    done = run(store, "--name", "truth", "--output", "zarr", "--overwrite")
    assert (done.exit_code, done.stdout) == (3, "")
    assert "give a file: TABLE.csv" in done.stderr


def test_the_table_of_an_archive_goes_into_the_current_folder(store, tmp_path, monkeypatch):
    bigcp3d.export(store, tmp_path / "a.ozx")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    done = run(tmp_path / "a.ozx", "--name", "truth")
    assert done.exit_code == 0, done.output
    (file,) = (tmp_path / "here").iterdir()
    assert file.name == f"{str(tmp_path).strip('/').replace('/', '-')}-a.ozx.truth.csv"
    assert done.stdout.startswith(f"{file}: ")
    monkeypatch.setattr("bigcp3d.schedule.measure.measure_block", None)  # a call would raise a TypeError
    done = run(tmp_path / "a.ozx", "--name", "truth", "--output", "zarr")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "nothing can be written into a zip archive" in done.stderr


def test_what_is_there_already_stays_and_the_exit_code_says_so(store, tmp_path):
    (tmp_path / "cells.csv").write_text("mine")
    done = run(store, "--name", "truth", "--output", tmp_path / "cells.csv")
    assert (done.exit_code, (tmp_path / "cells.csv").read_text()) == (3, "mine")
    assert run(store, "--name", "nothing", "--output", tmp_path / "new.csv").exit_code == 2


def test_a_name_that_leads_out_of_the_store_is_refused(store, tmp_path):
    other = tmp_path / "other.zarr"
    simulate(other, Tissue((8, 20, 20), 10.0, "nuclei"))
    done = run(store, "--name", f"../../../{tmp_path.name}/other.zarr/labels/truth")
    assert done.exit_code == 2
    assert "points out of the store to other files" in done.stderr
    assert not (other / "tables").exists()


def test_a_folder_without_what_a_run_knew_is_refused(store, tmp_path):
    done = run(store, "--name", "truth", "--work-dir", tmp_path, "--output", tmp_path / "cells.csv")
    assert done.exit_code == 2
    assert "there are no cells of a run" in done.stderr
