"""The paper's experiments run on a tiny volume, and their report says what was found and what is missing."""

import csv
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.errors import InputError
from tests.run_script import run_script

PAPER = Path(__file__).resolve().parents[2] / "examples" / "paper"
pytestmark = pytest.mark.timeout(900)  # seconds each on a free core, and a machine may be busy
SPREAD = {"p5_dice": 5, "q1_dice": 25, "median_dice": 50, "q3_dice": 75, "p95_dice": 95}


def run_here(name, *arguments):
    """Run a script in this process, where no import is done twice."""
    done = run_script(PAPER / name, "--quick", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_well(name, *arguments):
    """Run a script as a user would."""
    environment = {**os.environ, "PYTHONWARNINGS": "default", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PAPER / name), "--quick", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.fixture(autouse=True)
def _modules(monkeypatch):
    """The example's modules can be imported, as from its scripts."""
    monkeypatch.syspath_prepend(PAPER)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Exp1 without weights, Exp3, Exp4 and the report."""
    folder = tmp_path_factory.mktemp("paper")
    for script in ("exp1.py", "exp3.py", "exp4.py"):
        run_here(script, "--out", folder)
    assert run_here("report.py", "--out", folder).strip() == str(folder / "quick" / "report.md")
    return folder / "quick"


@pytest.fixture(scope="module")
def truth_found(tmp_path_factory):
    """A fold in which an experiment found the truth itself, and another one the truth 3 voxels beside itself."""
    sys.path.insert(0, str(PAPER))
    from experiment import score
    from material import prepare, read_whole, write_labels
    from splits import open_split

    folder = tmp_path_factory.mktemp("truth")
    volume = prepare(open_split("quick", folder).folds[0].test[0], folder, 12.0)
    truth = read_whole(open_labels(volume.path, "truth"))
    scores = {}
    for shift in (0, 3):
        write_labels(folder / f"{shift}.zarr", open_image(volume.path), np.roll(truth, shift, axis=2), "cells")
        scores[shift] = score(folder / f"{shift}.zarr", volume)
    sys.path.remove(str(PAPER))
    return scores


def read_table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_the_summary_is_that_of_the_cells(out):
    cells, summary = read_table(out / "cells.csv"), read_table(out / "summary.csv")
    scored = [row for row in summary if not row["missing"]]
    assert {row["experiment"] for row in scored} == {"exp3", "exp4"}
    for row in scored:
        dice = np.array([float(c["dice"]) for c in cells if c["experiment"] == row["experiment"]])
        assert len(dice) == int(row["true_cells"]) > 50
        assert float(row["mean_dice"]) == pytest.approx(dice.mean())
        of = [c for c in cells if c["experiment"] == row["experiment"]]
        large = dice[[int(c["cell_vox"]) >= 0.25 * np.pi / 6 * 12**3 for c in of]]
        assert 0 < len(large) == int(row["large_cells"]) < len(dice)
        assert float(row["large_mean_dice"]) == pytest.approx(large.mean())
        for name, percent in SPREAD.items():
            assert float(row[name]) == pytest.approx(np.percentile(dice, percent))


@pytest.mark.slow
def test_the_boxes_are_those_of_the_summary(out, tmp_path, monkeypatch):
    from drawing import draw_boxes
    from matplotlib.axes import Axes
    from report import read_row, summarise

    drawn, draw = [], Axes.bxp
    monkeypatch.setattr(Axes, "bxp", lambda self, stats, **more: drawn.extend(stats) or draw(self, stats, **more))
    rows = [read_row(out / "tiny" / name, "tiny", name) for name in ("exp3", "exp4")]
    draw_boxes([summarise(row, {"tissue1": 900.0}) for row in rows], tmp_path / "dice.png", "")
    assert len(drawn) == len(rows)
    for box, row in zip(drawn, rows, strict=True):
        low, q1, median, q3, high = np.percentile(row.dice, (5, 25, 50, 75, 95))
        assert box == pytest.approx(
            {"mean": row.dice.mean(), "med": median, "q1": q1, "q3": q3, "whislo": low, "whishi": high}
        )


@pytest.mark.slow
def test_the_report_names_what_is_missing(out):
    text = (out / "report.md").read_text()
    assert "Exp1: pretrained 2D Cellpose, tiny: no weights were given (--weights)" in text
    assert "Exp2: 2D Cellpose, trained here, tiny: not run" in text
    assert "Exp4: 3D U-Net, tanh flows, tiny:" not in text
    for name in ("dice.png", "slices.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
        assert f"({name})" in text


@pytest.mark.slow
def test_both_3d_experiments_saw_the_same_and_cost_the_same_steps(out):
    costs = [json.loads((out / "tiny" / name / "training.json").read_text()) for name in ("exp3", "exp4")]
    assert {(cost["steps"], cost["voxels_seen"], cost["parameters"]) for cost in costs} == {
        (3, 3 * 2 * 16 * 32 * 32, costs[0]["parameters"])
    }
    assert all(cost["cpu_seconds"] > 0 and cost["seconds"] > 0 for cost in costs)


@pytest.mark.slow
def test_what_is_done_is_not_done_again_and_other_settings_are_refused(out):
    model = out / "tiny" / "exp4" / "model.safetensors"
    before, made = (out / "tiny" / "exp4" / "cells.csv").read_text(), model.stat().st_mtime_ns
    run_here("exp4.py", "--out", out.parent)
    assert (out / "tiny" / "exp4" / "cells.csv").read_text() == before
    assert model.stat().st_mtime_ns == made
    refused = run_script(PAPER / "exp4.py", "--quick", "--out", out.parent, "--seed", 7)
    assert refused.returncode == InputError.exit_code
    assert "seed: 0, now 7" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_report_without_results_says_so(tmp_path):
    from report import main

    with pytest.raises(SystemExit, match="found no results"):
        main(["--quick", "--out", str(tmp_path)])


def test_the_truth_scores_one_and_a_shifted_truth_less(truth_found):
    assert truth_found[0]["mean_dice"] == truth_found[0]["ap50"] == 1
    assert truth_found[3]["mean_dice"] < 0.8
    assert truth_found[3]["ap50"] < 0.8


def test_slices_are_every_fourth_without_crumbs(tmp_path):
    from cellpose2d import cut_slices
    from material import write_volume
    from splits import Volume

    rng = np.random.default_rng(0)
    image = rng.integers(0, 1000, (10, 12, 14)).astype(np.uint16)
    labels = np.zeros(image.shape, np.uint32)
    labels[2:7, 3:8, 3:8] = 5
    labels[6, 10, 12] = 9
    write_volume(tmp_path / "a.zarr", image, labels)
    volume = Volume("a", tmp_path / "a.zarr", 10.0, crumbs_vox=2)
    slices = cut_slices(volume, (1.0, 99.0))
    low, high = np.percentile(image, (1, 99))
    kept = [image[2], image[6], image[:, 6], image[:, :, 6]]  # 2, 6, 10 of each axis, where there are cells
    truth = [labels == 5]
    true = [truth[0][2], truth[0][6], truth[0][:, 6], truth[0][:, :, 6]]
    assert len(slices) == len(kept)
    for (found, mask), plane, cells in zip(slices, kept, true, strict=True):
        assert np.allclose(found[0], (plane - low) / (high - low), atol=1e-5)
        assert not found[1].any()
        assert np.array_equal(mask > 0, cells)


def test_no_fold_trains_on_what_it_tests(shared_data):
    from splits import NAMES, open_split

    for fold in (fold for name in NAMES for fold in open_split(name, shared_data).folds):
        seen = {item.name for item in fold.train}
        assert seen
        assert not seen & {item.name for item in fold.test}
    embryos = open_split("nuclei", shared_data).folds[0]
    assert {v.name[:5] for v in embryos.test} == {"emb01", "emb09"}
    assert not {v.name[:5] for v in embryos.test} & {v.name[:5] for v in embryos.train}


def test_a_real_volume_is_brought_to_cells_of_the_common_size(shared_data, tmp_path):
    from material import prepare, read_whole
    from splits import Volume

    ovule = Volume("ovule", shared_data / "membrane" / "ovule.zarr", 6.0)
    made = prepare(ovule, tmp_path, 20.0)
    image, labels = read_whole(open_image(made.path)), read_whole(open_labels(made.path, "truth"))
    source = open_image(ovule.path).levels[0]
    factors = np.array([6.0 / s / 20.0 for s in source.scale_um])
    assert image.shape == labels.shape == tuple(np.floor(np.array(source.shape) / factors + 0.5).astype(int))
    true = read_whole(open_labels(ovule.path, "truth"))
    at = np.ix_(*(((np.arange(n) + 0.5) * f).astype(int) for n, f in zip(labels.shape, factors, strict=True)))
    assert (labels == true[at]).mean() > 0.99


def test_a_split_without_its_volumes_is_refused(tmp_path):
    from splits import open_split

    with pytest.raises(InputError, match="--data"):
        open_split("membrane", tmp_path)
    with pytest.raises(InputError, match="--data"):
        open_split("nuclei", tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("cellpose") is None, reason="Exp1 and Exp2 need bigcp3d[cellpose]")
def test_cellpose_is_trained_and_its_file_serves_as_pretrained_weights(tmp_path):
    run_well("exp2.py", "--out", tmp_path)
    weights = tmp_path / "quick" / "tiny" / "exp2" / "model.cellpose"
    run_well("exp1.py", "--out", tmp_path, "--weights", weights)
    run_well("report.py", "--out", tmp_path)
    summary = {row["experiment"]: row for row in read_table(tmp_path / "quick" / "summary.csv")}
    assert not summary["exp2"]["missing"]
    assert f"weights: {weights}" in (tmp_path / "quick" / "report.md").read_text()
    for end in ("", "_ours"):  # the same network: the same cells
        assert summary[f"exp1{end}"]["mean_dice"] == summary[f"exp2{end}"]["mean_dice"] != ""


def test_the_bound_is_what_the_true_maps_give(tmp_path, capsys):
    from bound import main

    main(["--split", "quick", "--data", str(tmp_path), "--out", str(tmp_path / "o")])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1] for row in rows] == ["heat", "tanh"]
    for _, _, every, large, ap50 in rows:
        assert 0.5 < float(every) < float(large)  # slivers are lost
        assert float(large) > 0.95
        assert float(ap50.rstrip(" |")) < 1
