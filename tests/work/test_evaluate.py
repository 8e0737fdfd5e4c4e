"""Labels on disk are compared block by block, with the numbers of the whole arrays."""

import json

import numpy as np
import pytest

from bigcp3d.errors import InputError
from bigcp3d.pure.metrics import count_overlaps, score_overlaps
from bigcp3d.work import evaluate as module
from bigcp3d.work.evaluate import evaluate


def cells(seed: int, shape: tuple[int, ...] = (20, 30, 40)) -> np.ndarray:
    """Boxes, some of them as large as several blocks."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    for k in range(12):
        start = [rng.integers(0, n - 5) for n in shape]
        labels[tuple(slice(a, a + int(rng.integers(4, 25))) for a in start)] = 70000 * k + 1
    return labels


@pytest.mark.parametrize("block", [(64, 256, 256), (7, 11, 13), (1, 30, 3)])
def test_the_numbers_are_those_of_the_whole_arrays(tmp_path, monkeypatch, write_labels, block):
    truth = cells(0)
    pred = np.where(truth == 70001, 0, np.roll(truth, (0, 1, 2), (0, 1, 2))).astype(np.uint64)
    monkeypatch.setattr(module, "BLOCK", block)
    numbers = evaluate(write_labels(tmp_path / "p", pred), write_labels(tmp_path / "t", truth))
    assert numbers == score_overlaps(count_overlaps(pred, truth))
    assert 0 < numbers["ap50"] < 1
    assert json.loads(json.dumps(numbers)) == numbers


def test_labels_at_several_times_are_cells_of_their_own(tmp_path, write_labels):
    truth = np.stack([cells(1), cells(2)])
    pred = np.stack([cells(1), np.zeros_like(cells(2))])
    numbers = evaluate(write_labels(tmp_path / "p", pred), write_labels(tmp_path / "t", truth))
    first, second = (len(np.unique(t)) - 1 for t in truth)
    assert (numbers["true_cells"], numbers["tp"], numbers["fp"]) == (first + second, first, 0)


def test_small_true_cells_can_be_left_out(tmp_path, write_labels):
    truth = np.zeros((4, 8, 8), np.int32)
    truth[0, 0, 0], truth[2:, 4:, 4:] = 1, 2
    path = write_labels(tmp_path / "t", truth)
    assert evaluate(path, path)["true_cells"] == 2
    assert evaluate(path, path, min_truth_vox=2)["true_cells"] == 1


def test_shapes_and_times_that_differ_are_refused_with_both(tmp_path, write_labels):
    whole = write_labels(tmp_path / "t", cells(0))
    with pytest.raises(InputError, match=r"\(20, 30, 39\).*\(20, 30, 40\)"):
        evaluate(write_labels(tmp_path / "p", cells(0)[..., :39]), whole)
    with pytest.raises(InputError, match="time points 2"):
        evaluate(write_labels(tmp_path / "two", np.stack([cells(0)] * 2)), whole)
    with pytest.raises(InputError):
        evaluate(tmp_path / "absent", whole)
