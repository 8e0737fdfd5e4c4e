"""A training that stops, however it stops, goes on bit for bit; the best model is kept; patience ends it."""

import csv
import os
import signal

import numpy as np
import pytest
import tifffile
import torch
import zarr

from bigcp3d.edge.models.model_families import load_card, load_network
from bigcp3d.errors import BigCP3DError, InputError, TargetError
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work.simulate import simulate
from bigcp3d.work.train import batches, checkpoint, fit
from bigcp3d.work.train.checkpoint import checkpoint_of, load_checkpoint
from bigcp3d.work.train.learning_curve import find_best, stale, write_curve
from bigcp3d.work.train.train import train
from tests.processes import PROCESSES

SMALL = {
    "features": 4, "depth": 2, "patch": (16, 24, 24), "batch": 1, "diameter_vox": 8.0, "prediction_patch": (32, 32, 32),
    "margin": 4, "every": 3, "learning_rate": 1e-2, "steps": 6, "holdout_x": 0.4, "min_cell_vox": 5,
    "keep": "last",
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("fit") / "nuclei.zarr"
    simulate(path, Tissue((24, 48, 64), 8.0, "nuclei", seed=3, noise=0.05, empty=0.0))
    return path


SCORE = fit.score_regions


@pytest.fixture(scope="module", autouse=True)
def constant_scores():
    """Most of these trainings are not scored, which takes longer than their steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "score_regions", lambda *_: {"val_dice_cells": 0.5, "val_ap50": 0.5})
        yield


@pytest.fixture(scope="module")
def whole(store, constant_scores, tmp_path_factory):
    """Six steps in one go."""
    return train([store], tmp_path_factory.mktemp("whole") / "m.safetensors", **SMALL)


@pytest.fixture(scope="module")
def whole_with_scores(store, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "score_regions", SCORE)
        return train([store], tmp_path_factory.mktemp("scored") / "m.safetensors", **SMALL)


@pytest.fixture
def scored(whole_with_scores):
    """The same, with its scores; and the trainings of a test are scored too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "score_regions", SCORE)
        yield whole_with_scores


def curve(model):
    return model.with_suffix(".losses.csv").read_text()


def rows(model):
    with model.with_suffix(".losses.csv").open() as file:
        return list(csv.DictReader(file))


def assert_same(a, b):
    """Weights to the bit, and the learning curve to the letter."""
    first, second = (load_network(path)[0].state_dict() for path in (a, b))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert curve(a) == curve(b)


def stop_at(monkeypatch, number, error=KeyboardInterrupt):
    make = batches.Recipe.make_sample

    def stop(recipe, now):
        if now == number:
            raise error
        return make(recipe, now)

    monkeypatch.setattr(batches.Recipe, "make_sample", stop)


@pytest.mark.parametrize("stopped_at", [1, 3, 5])  # before the first checkpoint, right after it, on the way to the next
def test_a_run_that_was_interrupted_ends_like_one_that_was_not(store, request, tmp_path, monkeypatch, stopped_at):
    whole = request.getfixturevalue("scored" if stopped_at == 3 else "whole")
    out = tmp_path / "m.safetensors"
    stop_at(monkeypatch, stopped_at)
    with pytest.raises(KeyboardInterrupt):
        train([store], out, **SMALL)
    monkeypatch.undo()
    assert not out.exists()
    assert load_checkpoint(checkpoint_of(out)).step == (3 if stopped_at >= 3 else 0)
    train([], out, resume=True)
    assert_same(whole, out)
    assert [row["step"] for row in rows(out)] == ["3", "6"]


def test_control_a_run_with_another_seed_ends_elsewhere(store, whole, tmp_path):
    other = train([store], tmp_path / "m.safetensors", seed=1, **SMALL)
    with pytest.raises(AssertionError):
        assert_same(whole, other)


def train_until_killed(store, out):
    torch.set_num_threads(1)
    save = fit.save_checkpoint

    def save_and_die(path, checkpoint):
        save(path, checkpoint)
        if checkpoint.step:
            os.kill(os.getpid(), signal.SIGKILL)  # the checkpoint is new, the learning curve still old

    fit.save_checkpoint = save_and_die
    train([store], out, **SMALL)


def test_a_killed_run_ends_like_one_that_was_not(store, scored, tmp_path):
    out = tmp_path / "m.safetensors"
    process = PROCESSES.Process(target=train_until_killed, args=(store, out))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert rows(out) == []
    train([store], out, resume=True, **SMALL)
    assert_same(scored, out)


def test_a_curve_that_is_ahead_of_the_checkpoint_gets_no_row_twice(store, whole, tmp_path, monkeypatch):
    out = tmp_path / "m.safetensors"
    stop_at(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        train([store], out, **SMALL)
    monkeypatch.undo()
    out.with_suffix(".losses.csv").write_text(curve(whole))
    train([store], out, resume=True, **SMALL)
    assert_same(whole, out)


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(store, tmp_path, monkeypatch):
    out = tmp_path / "m.safetensors"
    stop_at(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        train([store], out, **SMALL)
    monkeypatch.undo()
    before = out.with_suffix(".checkpoint.pt").read_bytes()

    def fill(content, file):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", fill)
    with pytest.raises(TargetError, match="No space left"):
        train([store], out, resume=True, **SMALL)
    assert out.with_suffix(".checkpoint.pt").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.checkpoint.pt", "m.losses.csv"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"learning_rate": 2e-2}, r"learning_rate: 0\.01 then, 0\.02 now"),
        ({"steps": 5}, "steps is 5, but .* has already done 6"),
        ({"patch": (16, 24, 32)}, "patch: "),
        ({"features": 8}, "features: 4 then, 8 now"),
        ({"holdout_x": 0.3}, "holdout_x: .*volumes: "),
        ({"seed": 1, "batch": 2}, "batch: 1 then, 2 now; seed: 0 then, 1 now"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused_by_their_names(store, whole, tmp_path, changed, message):
    out = tmp_path / "m.safetensors"
    saved = out.with_suffix(".checkpoint.pt")
    saved.write_bytes(whole.with_suffix(".checkpoint.pt").read_bytes())
    with pytest.raises(InputError, match=message):
        train([store], out, resume=True, **{**SMALL, **changed})
    assert list(tmp_path.iterdir()) == [saved]


def test_what_does_not_change_the_steps_may_change(store, whole, tmp_path, quick_processes):
    out = tmp_path / "m.safetensors"
    out.with_suffix(".checkpoint.pt").write_bytes(whole.with_suffix(".checkpoint.pt").read_bytes())
    train([store], out, resume=True, name="other", description="d", patience=5, workers=1, **SMALL)
    assert_same(whole, out)
    assert load_card(out).name == "other"


def test_labels_in_a_file_beside_the_image_teach_what_labels_in_the_store_teach(store, whole, tmp_path, monkeypatch):
    labels = zarr.open_array(store / "labels" / "truth" / "0", mode="r")[:]
    tifffile.imwrite(tmp_path / "labels.tif", labels.astype(np.uint16), metadata={"axes": "ZYX"})
    monkeypatch.chdir(tmp_path)
    for number in range(2):  # the second finds the file converted
        out = tmp_path / f"{number}.safetensors"
        train([f"{store}::labels.tif"], out, **SMALL)
        assert_same(whole, out)


def test_a_resumed_training_remembers_its_options_and_tells_the_changed_ones(
    store, whole, tmp_path, monkeypatch, caplog
):
    caplog.set_level("INFO")
    out = tmp_path / "m.safetensors"
    stop_at(monkeypatch, 4)
    monkeypatch.chdir(store.parent)
    with pytest.raises(KeyboardInterrupt):
        train([f"{store.name}::truth"], out, diameter_um={f"{store.name}::truth": 8.5}, **SMALL)
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"batch: 1 then, 2 now"):
        train([], out, resume=True, batch=2)
    caplog.clear()
    train([], out, resume=True, name="other")
    assert "goes on from step 3 of 6, with other options: name: None then, other now" in caplog.text
    assert load_card(out).name == "other"
    assert [row["step"] for row in rows(out)] == ["3", "6"]
    with pytest.raises(AssertionError):
        assert_same(whole, out)  # the control: the diameter that was given is remembered too
    with pytest.raises(InputError, match="there is no checkpoint from which to resume"):
        train([], tmp_path / "other.safetensors", resume=True)


def learning_rates(monkeypatch):
    """The learning rate of each step, as a list that grows."""
    seen, step = [], fit.Parts.step

    def watch(parts, *given):
        seen.append(parts.optimiser.param_groups[0]["lr"])
        return step(parts, *given)

    monkeypatch.setattr(fit.Parts, "step", watch)
    return seen


def test_more_steps_continue_a_training_that_has_ended(store, whole, tmp_path, monkeypatch):
    rates = learning_rates(monkeypatch)
    shown, samples_of = [], batches.Recipe.samples_of
    monkeypatch.setattr(batches.Recipe, "samples_of", lambda recipe, n: (shown.append(n), samples_of(recipe, n))[1])
    long = train([store], tmp_path / "long.safetensors", **{**SMALL, "steps": 12})
    asked, shown[:], rates[:] = list(rates), [], []
    out, other = tmp_path / "m.safetensors", tmp_path / "other.safetensors"
    for model in (out, other):
        checkpoint_of(model).write_bytes(checkpoint_of(whole).read_bytes())
    train([], out, resume=True, steps=12)
    assert rates == asked[6:], "the learning rate is that of twelve steps from the start"
    assert [n for n in shown if n < 100] == [*range(6, 12)], "and so are the batches"
    assert [row["step"] for row in rows(out)] == ["3", "6", "9", "12"]
    assert curve(out).startswith(curve(whole))
    with pytest.raises(AssertionError):
        assert_same(long, out)  # its first six steps were taken along another learning rate
    stop_at(monkeypatch, 10)
    with pytest.raises(KeyboardInterrupt):
        train([], other, resume=True, steps=12)
    monkeypatch.undo()
    train([], other, resume=True)
    assert_same(out, other)  # it can be stopped again


def test_row_0_is_the_score_of_the_model_to_start_from(store, whole, tmp_path, monkeypatch):
    scored = []

    def score_regions(network, regions, card):
        scored.append({name: tensor.float().clone() for name, tensor in network.state_dict().items()})
        return {"val_dice_cells": 0.5 / len(scored), "val_ap50": 0.5}

    monkeypatch.setattr(fit, "score_regions", score_regions)
    out = tmp_path / "m.safetensors"
    train([store], out, start=whole, **{**SMALL, "keep": "best", "precision": "float32", "patience": 1})
    start, weights = (load_network(path)[0].state_dict() for path in (whole, out))
    assert all(torch.equal(start[name], scored[0][name]) for name in start)
    assert [row["step"] for row in rows(out)] == ["0", "3"], "patience counts from there"
    assert (rows(out)[0]["foreground"], rows(out)[0]["val_dice_cells"]) == ("", "0.5")
    assert all(torch.equal(start[name], weights[name]) for name in start), "nothing was better than the start"


def test_a_training_that_was_stopped_at_once_is_no_obstacle(store, whole, tmp_path, monkeypatch):
    out = tmp_path / "m.safetensors"
    stop_at(monkeypatch, 0)
    with pytest.raises(KeyboardInterrupt):
        train([store], out, start=whole, **SMALL)
    assert [row["step"] for row in rows(out)] == ["0"]
    monkeypatch.undo()
    train([store], out, **SMALL)
    assert_same(whole, out)


@pytest.mark.parametrize("content", [b"", b"PK broken", b"cos\nsystem\n(S'false'\ntR."])
def test_a_damaged_checkpoint_is_refused_and_runs_no_code(store, tmp_path, content):
    out = tmp_path / "m.safetensors"
    out.with_suffix(".checkpoint.pt").write_bytes(content)
    with pytest.raises(InputError, match="this checkpoint cannot be used"):
        train([store], out, resume=True, **SMALL)
    assert out.with_suffix(".checkpoint.pt").read_bytes() == content


def test_a_learning_curve_with_rows_is_not_overwritten_unasked(store, tmp_path, monkeypatch):
    out, table = tmp_path / "m.safetensors", tmp_path / "m.losses.csv"
    table.write_text("step,foreground,flow\n1,0.5,0.5\n")  # its model was moved away
    with pytest.raises(TargetError, match=r"losses\.csv exists"):
        train([store], out, **SMALL)
    assert table.read_text().endswith("1,0.5,0.5\n")
    table.write_text("step,foreground,flow\n")  # of a training that was stopped at once: no obstacle
    monkeypatch.setattr("bigcp3d.work.train.train.Training", lambda *_, **__: pytest.fail("began"))
    with pytest.raises(pytest.fail.Exception, match="began"):
        train([store], out, **SMALL)


def test_a_checkpoint_is_not_overwritten_unasked(store, tmp_path):
    out = tmp_path / "m.safetensors"
    out.with_suffix(".checkpoint.pt").write_bytes(b"precious")
    with pytest.raises(TargetError, match=r"checkpoint\.pt exists"):
        train([store], out, **SMALL)
    train([store], out, overwrite=True, **{**SMALL, "steps": 1})
    assert out.exists()


def train_with_scores(store, out, monkeypatch, scores, **more):
    """A training whose validations find these scores; and the averaged weights at each of them."""
    found, seen = iter(scores), []

    def score_regions(network, regions, card):
        seen.append({name: tensor.float().clone() for name, tensor in network.state_dict().items()})
        value = next(found)
        return {"val_dice_cells": value, "val_ap50": value}

    monkeypatch.setattr(fit, "score_regions", score_regions)
    options = {**SMALL, "every": 1, "steps": len(scores), "precision": "float32", **more}
    train([store], out, **options)
    return seen


@pytest.mark.parametrize(("keep", "index"), [("best", 1), ("last", 3)])
def test_the_best_model_is_kept_or_the_last(store, tmp_path, monkeypatch, keep, index):
    out = tmp_path / "m.safetensors"
    seen = train_with_scores(store, out, monkeypatch, [0.1, 0.5, 0.3, 0.5], keep=keep)
    weights = load_network(out)[0].state_dict()
    equal = [all(torch.equal(weights[name], each[name]) for name in weights) for each in seen]
    assert equal == [i == index for i in range(4)]


def test_patience_ends_a_training_and_it_stays_ended(store, tmp_path, monkeypatch):
    out = tmp_path / "m.safetensors"
    scores = [0.1, 0.4, 0.3, 0.2, 0.9, 0.9]
    train_with_scores(store, out, monkeypatch, scores, patience=2)
    assert [row["step"] for row in rows(out)] == ["1", "2", "3", "4"]
    before = curve(out), load_network(out)[0].state_dict()
    train_with_scores(store, out, monkeypatch, scores, patience=2, resume=True)
    after = load_network(out)[0].state_dict()
    assert curve(out) == before[0]
    assert all(torch.equal(before[1][name], after[name]) for name in after)
    train_with_scores(store, out, monkeypatch, scores[:2] * 3, resume=True, patience=0)  # it goes on
    assert [row["step"] for row in rows(out)] == ["1", "2", "3", "4", "5", "6"]


def test_a_loss_that_is_no_number_ends_the_training_with_its_checkpoint_kept(store, tmp_path, monkeypatch):
    make = batches.Recipe.make_sample

    def spoil(recipe, number):
        made = make(recipe, number)
        return made._replace(image=made.image * np.float16(np.nan if number == 4 else 1))

    monkeypatch.setattr(batches.Recipe, "make_sample", spoil)
    out = tmp_path / "m.safetensors"
    with pytest.raises(BigCP3DError, match="learning rate"):
        train([store], out, **SMALL)
    assert [row["step"] for row in rows(out)] == ["3"]
    assert out.with_suffix(".checkpoint.pt").exists()


def test_weights_of_the_caller_s_random_numbers_are_left_alone(store, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train([store], tmp_path / "m.safetensors", **{**SMALL, "steps": 1})
    assert torch.equal(torch.rand(3), expected)


def test_the_learning_curve_s_best_row_is_the_first_of_equals(tmp_path):
    def row(dice, ap50):
        return {"step": 1, "val_dice_cells": dice, "val_ap50": ap50}

    assert find_best([row(0.2, 0.2), row(0.4, 0.8), row(0.8, 0.4), row(0.9, 0.1)]) == 1
    assert stale([row(0.2, 0.2), row(0.4, 0.8), row(0.8, 0.4), row(0.9, 0.1)]) == 2
    assert find_best([{"step": 1}, {"step": 2}]) is None
    assert stale([{"step": 1}, {"step": 2}]) == 0
    write_curve(tmp_path / "c.csv", [{"step": 1, "foreground": 0.25}], ["step", "foreground"])
    assert (tmp_path / "c.csv").read_bytes() == b"step,foreground\r\n1,0.25\r\n"
