"""Bad input at the command line, end to end: the message, the exit code, and that nothing was lost or left behind."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from bigcp3d.face.cli import app

AXES = tuple({"name": name, "type": "space", "unit": "micrometer"} for name in "zyx")
VALUES = np.random.default_rng(0).integers(0, 1000, (12, 14, 16)).astype(np.uint16)


def write_store(path: Path, values=VALUES, *, axes=AXES, scale=(1.0, 1.0, 1.0), paths=("0",), multiscales=True) -> Path:
    """A small OME-Zarr 0.4 image with one array, written by hand so that anything in it may be wrong."""
    group = zarr.create_group(path, zarr_format=2)
    array = group.create_array(
        "0", shape=values.shape, dtype=values.dtype, chunks=tuple(max(1, s) for s in values.shape)
    )
    if values.size:
        array[...] = values
    if multiscales:
        transform = [] if scale is None else [{"type": "scale", "scale": list(scale)}]
        datasets = [{"path": p, **({"coordinateTransformations": transform} if transform else {})} for p in paths]
        group.attrs["multiscales"] = [{"version": "0.4", "axes": list(axes), "datasets": datasets}]
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def swapped(order: str) -> tuple[dict[str, str], ...]:
    return tuple({"name": name, "type": "space"} for name in order)


CASES = {
    "wrong axes": ({"axes": swapped("xyx")}, [], "axes", 2),
    "2D": ({"values": VALUES[0], "axes": AXES[1:], "scale": (1.0, 1.0)}, [], "z", 2),
    "no multiscales": ({"multiscales": False}, [], "multiscales", 2),
    "missing array": ({"paths": ("0", "1")}, [], "1", 2),
    "complex": ({"values": VALUES.astype(np.complex64)}, [], "complex64", 2),
    "boolean": ({"values": VALUES > 500}, [], "bool", 2),
    "zero-size axis": ({"values": VALUES[:0]}, [], "z", 2),
    "no scale": ({"scale": None}, ["--diameter", "5"], "--scale", 2),
    "constant": ({"values": np.full_like(VALUES, 9)}, ["--serial"], "intensity 9", 2),
    "all NaN": ({"values": np.full(VALUES.shape, np.nan, np.float32)}, ["--serial"], "finite", 2),
    "channel": ({}, ["--channel", "4"], "channel", 2),
    "level": ({}, ["--level", "4"], "level", 2),
    "name": ({}, ["--name", "../cells"], "name", 2),
    "model": ({}, ["--model", "nothing.safetensors"], "nothing.safetensors", 2),
    "memory": ({}, ["--memory-limit", "10MiB", "--model", "membrane", "--diameter", "as-is"], "--memory-limit", 2),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused_with_its_name_and_nothing_is_left(case, tmp_path):
    store, options, word, code = CASES[case]
    path = write_store(tmp_path / "image.zarr", **store)
    before = files(tmp_path)
    result = CliRunner().invoke(app, ["segment", str(path), *options])
    assert result.exit_code == code, result.output
    assert word in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert files(tmp_path) == before


def test_the_same_image_with_nothing_wrong_is_planned(tmp_path):
    """The control."""
    path = write_store(tmp_path / "image.zarr")
    result = CliRunner().invoke(app, ["segment", str(path), "--model", "membrane", "--diameter", "5", "--dry-run"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("trouble", "word"), [("exists", "--overwrite"), ("read-only", "write"), ("full", "free")], ids=lambda value: value
)
def test_a_target_that_cannot_be_written_is_refused_with_exit_code_3(trouble, word, tmp_path, monkeypatch):
    path = write_store(tmp_path / "image.zarr")
    if trouble == "exists":
        labels = zarr.open_group(path, zarr_format=2).create_group("labels")
        labels.attrs["labels"] = ["cells"]
        labels.create_group("cells").attrs["image-label"] = {"version": "0.4"}
    elif trouble == "read-only":
        access = os.access  # denied by hand: the tests may run as root, whom no permission stops
        monkeypatch.setattr("os.access", lambda path, mode, **more: not mode & os.W_OK and access(path, mode, **more))
    else:
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(total=10, used=9, free=1))
    before = files(tmp_path)
    result = CliRunner().invoke(app, ["segment", str(path), "--serial", "--model", "nuclei", "--diameter", "as-is"])
    assert result.exit_code == 3, result.output
    assert word in " ".join(result.stderr.split())
    assert files(tmp_path) == before
