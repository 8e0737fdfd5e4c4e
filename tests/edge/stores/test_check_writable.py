"""A place where nothing can be written is known before anything is computed, and nothing is made there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bigcp3d.edge.stores.check_writable import check_file, check_folder, nearest_there
from bigcp3d.errors import InputError, TargetError


def test_a_file_or_a_folder_in_the_way_is_refused_and_a_free_place_is_not(tmp_path):
    (tmp_path / "taken").write_text("mine")
    check_file(tmp_path / "new" / "deep" / "cells.csv", overwrite=False)
    check_file(tmp_path / "taken", overwrite=True)
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text('{"attributes": {"ome": {}}}')
    (tmp_path / "zarr.json").write_text('{"attributes": {}}')  # as napari-ome-zarr leaves it beside stores
    for wrong, said in (
        (tmp_path / "a.zarr" / "0" / "cells.csv", r"inside the zarr store .*a\.zarr; give a path outside it"),
        (tmp_path / "taken", "--overwrite"),
        (tmp_path / "taken" / "cells.csv", "taken is not a folder with write permission"),
        (tmp_path / "taken" / "deep" / "cells.csv", "taken is not a folder with write permission"),
        (tmp_path, "this is a folder"),
    ):
        with pytest.raises(TargetError, match=said):
            check_file(wrong, overwrite=False)
    with pytest.raises(InputError, match="address, and a file must be"):
        check_file("s3://bucket/cells.csv", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "taken", "zarr.json"]
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_folder_without_permission_is_refused_with_the_cure(tmp_path, monkeypatch):
    check_folder(tmp_path / "new")
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root may write anywhere
    with pytest.raises(
        TargetError,
        match=r"new: .* is not a folder with write permission; give another --work-dir, or change the permissions",
    ):
        check_folder(tmp_path / "new", cure="give another --work-dir")


def test_the_nearest_folder_that_is_there_is_found_for_relative_paths_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert nearest_there(Path("a") / "b") == tmp_path
