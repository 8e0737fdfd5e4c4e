"""Whole runs on OpenStack Swift through its S3 interface, on disk; by hand: see `tests.swift`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import bigcp3d
from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.stores.places import place
from tests.object_stores import forget_connections, make_bucket
from tests.schedule.conftest import CUT, read_labels, tissue_values, write_image
from tests.schedule.running.test_object_store import labels_of
from tests.swift import KEY, SECRET, swift

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("BIGCP3D_SWIFT" not in os.environ, reason="BIGCP3D_SWIFT names no environment with Swift"),
]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_in_swift_are_those_of_the_local_run(version, random_model, tmp_path, monkeypatch):
    values = tissue_values()
    write_image(tmp_path / "image.zarr", values, version=version)
    bigcp3d.segment(tmp_path / "image.zarr", **{**CUT, "block": (99, 99, 99)}, model=random_model)
    local = read_labels(tmp_path / "image.zarr", "cells")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with swift(tmp_path / "swift", Path(os.environ["BIGCP3D_SWIFT"])) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        forget_connections()
        make_bucket(endpoint, "tissue")
        source = "s3://tissue/image.zarr"
        write_image(source, values, version=version)
        settings = {**CUT, "executor": "dask", "workers": 2, "model": random_model, "work_dir": tmp_path / "work"}
        bigcp3d.segment(source, **settings)
        assert np.array_equal(labels_of(source), local)
        bigcp3d.segment(source, **settings, overwrite=True)
        bigcp3d.segment(source, **{**settings, "name": "again", "block": (34, 20, 51)})
        assert np.array_equal(labels_of(source, "again"), local)
        assert open_image(source).label_names == ("cells", "again")
        assert [spot.name for spot in place("s3://tissue").iterdir()] == ["image.zarr"]
    forget_connections()
