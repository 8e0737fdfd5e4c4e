"""Labels on disk, with metadata written by hand; and workers that start at once."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from tests.processes import PROCESSES


def _write_labels(path: Path, labels: np.ndarray) -> Path:
    """A labels group of its own, (z, y, x) or (t, z, y, x)."""
    axes = ["t", "z", "y", "x"][-labels.ndim :]
    kinds = [{"name": a, "type": "time" if a == "t" else "space"} for a in axes]
    scale = [{"type": "scale", "scale": [1.0] * labels.ndim}]
    group = zarr.open_group(path, mode="w", zarr_format=3)
    multiscale = {"axes": kinds, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale], "image-label": {}}
    array = zarr.create_array(path / "0", shape=labels.shape, dtype=labels.dtype, chunks="auto", dimension_names=axes)
    array[...] = labels
    return path


@pytest.fixture(scope="session")
def write_labels():
    """Function that writes an array as a labels group and returns its path."""
    return _write_labels


@pytest.fixture
def quick_processes(monkeypatch):
    """Processes that make samples are forks of one that has imported everything."""
    monkeypatch.setattr("multiprocessing.get_context", lambda method: PROCESSES)
