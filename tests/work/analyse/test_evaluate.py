"""Labels on disk are compared block by block, with the numbers of the whole arrays."""

import json

import numpy as np
import pytest
import zarr

from bigcp3d.edge.image import voxels
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import BlockGrid
from bigcp3d.pure.score.metrics import score_overlaps
from bigcp3d.pure.score.overlaps import count_overlaps
from bigcp3d.schedule.evaluate import evaluate
from bigcp3d.work.analyse import evaluate as module
from tests.pure.score.reference_scores import dense_at_seam, dense_cells, dense_scores


def cells(seed: int, shape: tuple[int, ...] = (20, 30, 40)) -> np.ndarray:
    """Boxes, some of them as large as several blocks."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    for k in range(12):
        start = [rng.integers(0, n - 5) for n in shape]
        labels[tuple(slice(a, a + int(rng.integers(4, 25))) for a in start)] = 70000 * k + 1
    return labels


@pytest.fixture(scope="module")
def pair():
    truth = cells(0)
    return np.where(truth == 70001, 0, np.roll(truth, (0, 1, 2), (0, 1, 2))).astype(np.uint64), truth


@pytest.fixture(scope="module")
def stores(tmp_path_factory, write_labels, pair):
    folder = tmp_path_factory.mktemp("stores")
    return write_labels(folder / "p", pair[0]), write_labels(folder / "t", pair[1])


@pytest.mark.parametrize("block", [(64, 256, 256), (7, 11, 13), (1, 30, 3)])
def test_the_numbers_are_those_of_the_whole_arrays(monkeypatch, stores, pair, block):
    monkeypatch.setattr(module, "block_of_chunks", lambda *_: block)
    numbers = evaluate(*stores)
    assert dict(numbers) == score_overlaps(count_overlaps(*pair))
    assert dict(numbers) == pytest.approx(dense_scores(*pair))
    assert 0 < numbers["ap50"] < 1
    assert numbers.dice == pytest.approx([row[2] for row in dense_cells(*pair)])


@pytest.mark.parametrize("block", [(7, 11, 13), (20, 5, 40), (3, 30, 3)])
def test_nothing_depends_on_the_parts_that_are_read(monkeypatch, stores, block):
    whole = evaluate(*stores, blocks=(10, 9, 8), min_cell_vox=100)
    monkeypatch.setattr(module, "block_of_chunks", lambda *_: block)
    parts = evaluate(*stores, blocks=(10, 9, 8), min_cell_vox=100)
    assert parts.as_json() == whole.as_json()
    for name, column in whole.columns().items():
        assert np.array_equal(parts.columns()[name], column), name


@pytest.mark.parametrize("blocks", [(10, 15, 20), (13.5, 99, 21.25)])
def test_cells_at_seams_are_scored_apart(stores, pair, blocks):
    found = evaluate(*stores, blocks=blocks)
    at_seam = [dense_at_seam(pair[1], int(cell), blocks) for cell in found.cells.cell]
    assert found.at_seam.tolist() == at_seam
    assert 0 < sum(at_seam) < len(at_seam)
    dice = np.array([row[2] for row in dense_cells(*pair)])
    assert found.seam.numbers["mean_dice"] == pytest.approx(dice[at_seam].mean())
    assert found.elsewhere.numbers["mean_dice"] == pytest.approx(dice[~np.array(at_seam)].mean())
    for key in ("true_cells", "found_cells", "tp", "fp", "fn"):
        assert found.seam.numbers[key] + found.elsewhere.numbers[key] == found[key]
    numbers = json.loads(json.dumps(found.as_json()))
    assert numbers["blocks"] == list(blocks)
    assert numbers["at_seam"]["mean_dice"] == found.seam.numbers["mean_dice"]
    assert [row["iou"] for row in numbers["by_iou"]] == [k / 10 for k in range(1, 10)]


def test_the_false_cells_are_listed(stores, pair, caplog):
    numbers = evaluate(*stores)
    false = numbers.false_cells
    pred, truth = pair
    matched = [
        any(2 * np.count_nonzero((pred == p) & (truth == t)) > np.count_nonzero((pred == p) | (truth == t))
            for t in np.unique(truth[(pred == p) & (truth > 0)]))
        for p in np.unique(pred[pred > 0])
    ]  # fmt: skip
    assert len(false["cell"]) == numbers["fp"] > 0
    assert false["cell"].tolist() == np.unique(pred[pred > 0])[~np.array(matched)].tolist()
    for row in zip(*false.values(), strict=True):
        time, cell, voxels, z0, y0, x0, z1, y1, x1 = (int(number) for number in row)
        assert time == 0
        assert np.count_nonzero(pred == cell) == voxels == np.count_nonzero(pred[z0:z1, y0:y1, x0:x1] == cell)
    assert len(evaluate(stores[1], stores[1]).false_cells["cell"]) == 0
    assert "these labels are compared with themselves" in caplog.text


@pytest.mark.parametrize("blocks", [None, (10, 15, 20)])
def test_whole_cells_are_scored_apart_from_those_that_the_border_cuts(tmp_path, write_labels, stores, pair, blocks):
    found = evaluate(*stores, whole_cells=True, blocks=blocks)
    core = pair[1][1:-1, 1:-1, 1:-1]
    whole = [not (np.count_nonzero(pair[1] == cell) - np.count_nonzero(core == cell)) for cell in found.cells.cell]
    assert 0 < sum(whole) < len(whole)
    dice = np.array([row[2] for row in dense_cells(*pair)])
    assert found.inside.numbers["mean_dice"] == pytest.approx(dice[whole].mean())
    assert list(found.groups)[:2] == ["whole cells", "all cells"]
    numbers = json.loads(json.dumps(found.as_json()))
    assert numbers["whole_cells"]["true_cells"] == sum(whole)
    others = evaluate(*stores, blocks=blocks).as_json()
    assert {name: numbers[name] for name in others} == others, "nothing else changes"
    perfect = evaluate(stores[1], stores[1], whole_cells=True)
    assert (perfect.inside.numbers["ap50"], perfect.inside.numbers["found_cells"]) == (1.0, sum(whole))


def test_labels_cut_at_the_seams_are_worse_there_and_nowhere_else(tmp_path, write_labels):
    z, y, x = np.indices((16, 32, 32))
    truth = (1 + (z + 4) // 8 + 10 * ((y + 4) // 8) + 100 * ((x + 4) // 8)).astype(np.uint32)
    cut = truth + 1000 * (x // 16).astype(np.uint32)
    paths = write_labels(tmp_path / "p", cut), write_labels(tmp_path / "t", truth)
    found = evaluate(*paths, blocks=(16, 32, 16))
    assert found.elsewhere.numbers["ap50"] == found.elsewhere.numbers["mean_dice"] == 1.0
    assert found.elsewhere.numbers["fp"] == 0
    assert found.seam.numbers["ap50"] == 0.5  # one half of each has an IoU of 0.5, the other is wrong
    assert evaluate(*paths, blocks=(16, 16, 32)).elsewhere.numbers["fp"] > 0


def test_labels_at_several_times_are_cells_of_their_own(tmp_path, write_labels):
    truth = np.stack([cells(1), cells(2)])
    pred = np.stack([cells(1), np.zeros_like(cells(2))])
    numbers = evaluate(write_labels(tmp_path / "p", pred), write_labels(tmp_path / "t", truth), blocks=(8, 8, 8))
    first, second = (len(np.unique(t)) - 1 for t in truth)
    assert (numbers["true_cells"], numbers["tp"], numbers["fp"]) == (first + second, first, 0)
    columns = numbers.columns()
    for time, (z0, y0, x0), (z1, y1, x1), cell in zip(
        columns["time"], numbers.start, numbers.stop, columns["cell"], strict=True
    ):
        inside = truth[time] == cell
        assert inside[z0:z1, y0:y1, x0:x1].sum() == inside.sum()
        assert inside[z0].any()
        assert inside[:, :, x1 - 1].any()


def test_small_true_cells_can_be_left_out(tmp_path, write_labels):
    truth = np.zeros((4, 8, 8), np.int32)
    truth[0, 0, 0], truth[2:, 4:, 4:] = 1, 2
    path = write_labels(tmp_path / "t", truth)
    assert evaluate(path, path)["true_cells"] == 2
    numbers = evaluate(path, path, min_cell_vox=2, blocks=(2, 2, 2))
    assert (numbers["true_cells"], numbers["found_cells"], numbers["ap50"]) == (1, 1, 1.0)
    assert numbers.start.tolist() == [[2, 4, 4]]


def test_progress_counts_every_block(monkeypatch, stores):
    monkeypatch.setattr(module, "block_of_chunks", lambda *_: (10, 30, 20))
    told = []
    evaluate(*stores, on_event=lambda event: told.append((event.done, event.total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_each_chunk_is_read_once(monkeypatch, tmp_path, write_labels):
    chunks, read = {"p": (1, 40, 40), "t": (4, 20, 20)}, {"p": 0, "t": 0}
    for name, chunk in chunks.items():
        write_labels(tmp_path / name, labels := cells(2, (12, 40, 40)))
        array = zarr.create_array(
            tmp_path / name / "0", shape=labels.shape, dtype=labels.dtype, chunks=chunk, overwrite=True
        )
        array[...] = labels

    def read_box(info, level, box, *, time):
        name = info.path[-1]
        read[name] += BlockGrid(labels.shape, chunks[name]).count_touching(box)
        return voxels.read_box(info, level, box, time=time)

    monkeypatch.setattr(module, "read_box", read_box)
    monkeypatch.setattr(module, "BLOCK_VOX", 4 * 40 * 40)
    assert evaluate(tmp_path / "p", tmp_path / "t")["mean_dice"] == 1
    assert read == {"p": 12, "t": 12}


def test_what_cannot_be_compared_is_refused_before_a_voxel_is_read(monkeypatch, tmp_path, write_labels, stores):
    monkeypatch.setattr(module, "read_box", None)
    whole = stores[1]
    with pytest.raises(InputError, match=r"\(20, 30, 39\).*\(20, 30, 40\)"):
        evaluate(write_labels(tmp_path / "p", cells(0)[..., :39]), whole)
    with pytest.raises(InputError, match=r"2 time points, but .* and 1;"):
        evaluate(write_labels(tmp_path / "two", np.stack([cells(0)] * 2)), whole)
    with pytest.raises(InputError):
        evaluate(tmp_path / "absent", whole)
    with pytest.raises(InputError, match="blocks"):
        evaluate(whole, whole, blocks=(8, 0, 8))


@pytest.mark.parametrize(("scale", "refused"), [((1.0, 1.0, 2.0), True), ((1.0, 1.0, 1.004), False), (None, False)])
def test_voxel_sizes_that_differ_are_refused(tmp_path, write_labels, scale, refused):
    paths = []
    for name, size in (("t", (1.0, 1.0, 1.0)), ("p", scale)):
        import zarr

        path = write_labels(tmp_path / name, cells(0))
        group = zarr.open_group(path)
        ome = dict(group.attrs["ome"])
        multiscale = ome["multiscales"][0]
        for axis in multiscale["axes"]:
            if size is not None:
                axis["unit"] = "micrometer"
        multiscale["datasets"][0]["coordinateTransformations"][0]["scale"] = list(size or (7.0, 7.0, 7.0))
        group.attrs["ome"] = ome
        paths.append(path)
    if refused:
        with pytest.raises(InputError, match=r"1, 1, 2.*1, 1, 1"):
            evaluate(paths[1], paths[0])
    else:
        assert evaluate(paths[1], paths[0])["ap50"] == 1.0
