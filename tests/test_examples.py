"""The examples run as they stand, and say true things."""

import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest
import zarr
from PIL import Image

import bigcp3d
from bigcp3d.edge.image.image import open_labels
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.models.model_families import load_card
from bigcp3d.pure.boxes import Box
from tests.run_script import run_script

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
pytestmark = pytest.mark.usefixtures("each_patch_is_computed_once")


def start_example(name, *arguments, **environment):
    """Run a script as a user would, warnings being errors, with this Python's commands first on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PYTHONWARNINGS": "error", "PATH": path, **environment}
    interpreter = "bash" if name.endswith(".sh") else sys.executable
    command = [interpreter, str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def run_example(name, *arguments):
    """Run a script that should succeed; its output."""
    done = start_example(name, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_here(name, *arguments):
    """The same in this process, for what starts no others."""
    done = run_script(EXAMPLES / name, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tissue(tmp_path_factory):
    """A simulated tissue with its truth and found cells."""
    path, scale = tmp_path_factory.mktemp("tissue") / "tissue.zarr", (1.0, 0.5, 0.5)
    cells = bigcp3d.Tissue(shape=(16, 64, 64), diameter_vox=24.0, stain="membrane", seed=1, scale=scale)
    bigcp3d.simulate(path, cells, scale_um=scale)
    bigcp3d.segment(path, model="membrane", diameter_um=12.0, executor="serial")
    return path


def test_the_results_can_be_read_without_bigcp3d(tissue):
    labels = read_box(open_labels(tissue, "cells"), 0, Box.of_shape((16, 64, 64)))
    text = run_here("read_results.py", tissue)
    assert f"{labels.max()} cells, {np.count_nonzero(labels == 0)} voxels of background" in text
    assert f"model: {load_card('membrane').name}\n" in text


def test_tuning_predicts_once_and_scores_each_try(tissue):
    text = run_here("tuning.py", tissue, 12, "truth")
    assert "predicted once" in text
    tries = re.findall(r"^try_(\S+)_(\d+): (\d+) cells.*mean Dice (\S+), AP", text, re.MULTILINE)
    assert [(foreground, smallest) for foreground, smallest, *_ in tries] == [
        (foreground, smallest) for foreground in ("0.3", "0.5", "0.7") for smallest in ("50", "200")
    ]
    cells = {(foreground, smallest): int(count) for foreground, smallest, count, _ in tries}
    assert all(cells[f, "200"] <= cells[f, "50"] for f in ("0.3", "0.5", "0.7"))  # a larger least volume removes more
    best = open_labels(tissue, "try_0.5_50")
    assert read_box(best, 0, Box.of_shape((16, 64, 64))).max() == cells["0.5", "50"]


@pytest.mark.slow
def test_a_cluster_that_the_script_starts_gives_the_same_labels_and_ends(tissue, tmp_path):
    mark = str(tmp_path)  # in the command lines of scheduler and workers, whose folder lies here
    done = start_example(
        "cluster_run.sh", tissue, "--diameter", 12, "--block", 16, 32, 32, "--name", "on_cluster", TMPDIR=mark
    )
    assert done.returncode == 0, done.stderr
    assert "Dask cluster with" in done.stderr
    ours, theirs = (read_box(open_labels(tissue, n), 0, Box.of_shape((16, 64, 64))) for n in ("cells", "on_cluster"))
    assert np.array_equal(ours, theirs)
    assert [p for p in psutil.process_iter(["cmdline"]) if mark in " ".join(p.info["cmdline"] or ())] == []


def test_the_cluster_script_says_how_it_is_used():
    done = start_example("cluster_run.sh")
    assert done.returncode == 2
    assert "bash examples/cluster_run.sh IMAGE.zarr" in done.stdout
    assert "--cluster slurm" in done.stdout
    assert "set -euo" not in done.stdout


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_table_of_cells_becomes_a_data_frame(tissue, tmp_path, suffix):
    count = read_box(open_labels(tissue, "cells"), 0, Box.of_shape((16, 64, 64))).max()
    text = run_here("results_in_pandas.py", tissue, tmp_path / f"cells.{suffix}")
    assert f"{count} cells; columns: volume_vox, " in text
    assert "brightness" in text


def test_without_napari_its_example_says_what_to_install(tissue, tmp_path):
    (tmp_path / "napari.py").write_text("raise ModuleNotFoundError(\"No module named 'napari'\")")
    done = start_example("results_in_napari.py", tissue, PYTHONPATH=_before_others(tmp_path))
    assert done.returncode == 1
    assert "No module named 'napari'\ninstall what is missing: pip install 'napari[all]'" in done.stderr


@pytest.mark.slow
def test_a_few_steps_of_training_leave_a_model_its_curve_and_scores_of_both_models(tmp_path):
    text = run_here("train_on_own_labels.py", tmp_path, "--steps", 4, "--patch", 32, 32, 32)
    assert load_card(tmp_path / "mine.safetensors").name == "mine"
    assert (tmp_path / "mine.losses.png").stat().st_size > 10000
    scores = dict(re.findall(r"^(shipped|mine): mean Dice (\S+), AP", text, re.MULTILINE))
    assert list(scores) == ["shipped", "mine"]
    assert all(0.1 < float(score) < 1 for score in scores.values())


@pytest.mark.slow
def test_the_notebook_runs_and_is_kept_without_outputs():
    nbclient = pytest.importorskip("nbclient")
    notebook = pytest.importorskip("nbformat").read(EXAMPLES / "walkthrough.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Jupyter's own; those of bigcp3d are errors in the other tests
        done = nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    outputs = [output for cell in done.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", ()) for output in outputs) == 2
    table = next(o.data["text/plain"] for o in outputs if "touches_border" in o.get("data", {}).get("text/plain", ""))
    assert "volume_um3" in table


def test_the_list_of_examples_is_complete():
    text = (EXAMPLES / "README.md").read_text()
    named = set(re.findall(r"\]\(([^)]+)\)", text))
    there = {f.name for f in EXAMPLES.iterdir() if f.suffix in (".py", ".sh", ".ipynb")} | {
        "paper/README.md",
        "pictures/looks.py",
        "pictures/looks.md",
    }
    assert named == there


def _before_others(folder):
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_flows_of_cellpose_become_labels(tmp_path):
    shape = (13, 24, 24)
    at = np.indices(shape) % 12 - 5.5
    ball, flow = (at**2).sum(axis=0) < 25, -np.tanh(at / 3)
    image = create_image(tmp_path / "a.zarr", shape, "uint8", scale_um=(1, 1, 1), chunk=shape, shard=shape)
    write_image_box(image, Box.of_shape(shape), ball.astype(np.uint8))
    np.save(tmp_path / "dp.npy", (10 * flow).astype(np.float32))
    np.save(tmp_path / "prob.npy", np.where(ball, 6000, -6000).astype(np.float32))
    files = [tmp_path / name for name in ("a.zarr", "dp.npy", "prob.npy", "maps.zarr")]
    assert "cells=4" in run_here("maps_from_cellpose.py", *files, 5)
    maps = zarr.open_array(tmp_path / "maps.zarr", mode="r")
    np.testing.assert_allclose(maps[:], np.stack([ball, *flow]), atol=1e-6)
    labels = read_box(open_labels(tmp_path / "a.zarr", "cells_from_cellpose"), 0, Box.of_shape(shape))
    assert np.array_equal(labels[:12] > 0, ball[:12])
    assert len(np.unique(labels[:12, :12, :12])) == 2


@pytest.mark.slow
def test_a_family_of_models_from_another_package_segments(tmp_path):
    """In a process of its own, that finds the family as an installed package's: by its entry point."""
    site = tmp_path / "site"
    (site / "bright_cells-1.0.dist-info").mkdir(parents=True)
    (site / "bright_cells-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: bright-cells\nVersion: 1.0\n"
    )
    (site / "bright_cells-1.0.dist-info" / "entry_points.txt").write_text("[bigcp3d.models]\nbright = custom_model\n")
    shutil.copy(EXAMPLES / "custom_model.py", site)
    shape = (26, 39, 39)
    ball = ((np.indices(shape) % 13 - 6.0) ** 2).sum(axis=0) < 17
    image = create_image(tmp_path / "a.zarr", shape, "uint8", scale_um=(1, 1, 1), chunk=shape, shard=shape)
    write_image_box(image, Box.of_shape(shape), 200 * ball.astype(np.uint8))

    def python(*arguments):
        environment = {**os.environ, "PYTHONPATH": _before_others(site)}
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    for name, block in (("whole", shape), ("blocks", (11, 17, 39))):
        asked = {
            "model": "bright:8",
            "name": name,
            "block": block,
            "executor": "serial",
            "diameter_um": "as-is",
            "min_volume": 10,
        }
        done = python("-c", f"import bigcp3d; bigcp3d.segment({str(image.path)!r}, **{asked})")
        assert done.returncode == 0, done.stderr
    whole, blocks = (read_box(open_labels(image.path, name), 0, Box.of_shape(shape)) for name in ("whole", "blocks"))
    assert np.array_equal(whole, blocks)
    middles = whole[6::13, 6::13, 6::13]
    assert len(np.unique(middles)) == middles.size == 18, "one cell for each ball"
    assert middles.min() > 0
    assert whole.max() == 18
    assert "bright:8" in python("-m", "bigcp3d", "models", "bright:8").stdout
    for wrong, said in (("bright:x", "'x' is no diameter"), ("no-such", "bright:NAME")):
        refused = python("-m", "bigcp3d", "models", wrong)
        assert refused.returncode == 2
        assert said in " ".join(refused.stderr.split())


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium on this machine (apt-get install chromium)")
def test_the_viewer_has_its_picture_taken(tissue, tmp_path):
    """Of cells in colours, and not of a black or an empty page."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    pytest.importorskip("neuroglancer", reason="neuroglancer is not installed")
    text = run_here("viewer_pictures.py", tissue, "--out", tmp_path)
    assert "image and labels" in text
    pixels = np.asarray(Image.open(tmp_path / "view.jpg")).astype(int)
    assert pixels.shape == (800, 1280, 3)
    coloured = (pixels.max(axis=2) - pixels.min(axis=2) > 40).mean()
    assert 0.05 < coloured < 0.9


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium on this machine (apt-get install chromium)")
def test_the_dashboard_of_a_run_is_photographed(tmp_path):
    pytest.importorskip("playwright.sync_api")
    text = run_example("dashboard_screenshot.py", tmp_path, "--shape", 24, 64, 64)
    assert "picture taken after 16 blocks" in text
    assert (tmp_path / "dask.png").read_bytes().startswith(b"\x89PNG")
