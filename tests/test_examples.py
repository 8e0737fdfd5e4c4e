"""The examples run as they stand, and say true things."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from bigcp3d.edge.image import open_image, open_labels, read_box
from bigcp3d.edge.labels import create_image, write_image_box
from bigcp3d.edge.models import load_card
from bigcp3d.pure.boxes import Box

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run_example(name, *arguments):
    """Run a script as a user would, warnings being errors; its output."""
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def quick_start(tmp_path_factory):
    """What quick_start.py wrote, and its output."""
    folder = tmp_path_factory.mktemp("quick_start")
    return folder / "tissue.zarr", run_example("quick_start.py", folder, "--shape", 16, 64, 64)


def test_the_quick_start_plans_segments_and_evaluates(quick_start):
    path, text = quick_start
    labels = open_labels(path, "cells")
    ids = np.unique(read_box(labels, 0, Box.of_shape((16, 64, 64))))
    assert f"{ids.max()} cells in" in text
    assert "memory " in text
    assert "dice" in text.lower()


def test_the_results_can_be_read_without_bigcp3d(quick_start):
    path, _ = quick_start
    labels = read_box(open_labels(path, "cells"), 0, Box.of_shape((16, 64, 64)))
    text = run_example("read_results.py", path)
    assert f"{labels.max()} cells, {np.count_nonzero(labels == 0)} voxels of background" in text
    assert f"model: {load_card('membrane').name}\n" in text


def write_source(folder, kind, stack):
    """A volume in another format, and what to_zarr.py is given for it."""
    path = folder / kind
    if kind == "a.tif":
        tifffile.imwrite(path, stack, photometric="minisblack")
        return path, ()
    if kind == "planes":
        path.mkdir()
        for z, plane in enumerate(stack):
            tifffile.imwrite(path / f"z{z}.tif", plane, photometric="minisblack")  # z10 follows z9
        return path, ()
    if kind == "a.h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file["some/raw"] = stack
        return path, ("some/raw",)
    tensorstore = pytest.importorskip("tensorstore")
    metadata = {"dataType": "uint16", "dimensions": stack.shape[::-1], "blockSize": [16, 16, 8]}
    spec = {"driver": "n5", "kvstore": f"file://{path}/raw", "metadata": {**metadata, "compression": {"type": "raw"}}}
    tensorstore.open(spec, create=True).result().write(stack.T).result()
    return path, ("raw",)


@pytest.mark.parametrize("kind", ["a.tif", "planes", "a.h5", "a.n5"])
def test_other_formats_become_an_image(kind, tmp_path):
    stack = np.random.default_rng(0).integers(0, 60000, (40, 30, 50), dtype=np.uint16)
    path, more = write_source(tmp_path, kind, stack)
    run_example("to_zarr.py", path, tmp_path / "a.zarr", 2.0, 0.5, 0.5, *more)
    image = open_image(tmp_path / "a.zarr")
    assert image.levels[0].scale_um == (2.0, 0.5, 0.5)
    assert np.array_equal(read_box(image, 0, Box.of_shape(stack.shape)), stack)


def test_flows_of_cellpose_become_labels(tmp_path):
    shape = (14, 24, 24)
    at = np.indices(shape) % 12 - 5.5
    ball, flow = (at**2).sum(axis=0) < 25, -np.tanh(at / 3)
    image = create_image(tmp_path / "a.zarr", shape, "uint8", scale_um=(1, 1, 1), chunk=shape, shard=shape)
    write_image_box(image, Box.of_shape(shape), ball.astype(np.uint8))
    np.save(tmp_path / "dp.npy", (10 * flow).astype(np.float32))
    np.save(tmp_path / "prob.npy", np.where(ball, 6000, -6000).astype(np.float32))
    files = [tmp_path / name for name in ("a.zarr", "dp.npy", "prob.npy", "maps.zarr")]
    assert "cells=4" in run_example("maps_from_cellpose.py", *files, 5)
    maps = zarr.open_array(tmp_path / "maps.zarr", mode="r")
    np.testing.assert_allclose(maps[:], np.stack([ball, *flow]), atol=1e-6)
    labels = read_box(open_labels(tmp_path / "a.zarr", "cells_from_cellpose"), 0, Box.of_shape(shape))
    assert np.array_equal(labels[:12] > 0, ball[:12])
    assert len(np.unique(labels[:12, :12, :12])) == 2


def test_the_viewer_has_its_picture_taken(chromium, quick_start, tmp_path):
    """Of cells in colours, and not of a black or an empty page."""
    text = run_example("viewer_pictures.py", quick_start[0], "--out", tmp_path)
    assert "image and labels" in text
    pixels = np.asarray(Image.open(tmp_path / "view.jpg")).astype(int)
    assert pixels.shape == (800, 1280, 3)
    coloured = (pixels.max(axis=2) - pixels.min(axis=2) > 40).mean()
    assert 0.05 < coloured < 0.9
