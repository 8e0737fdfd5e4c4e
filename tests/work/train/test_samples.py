"""Samples show cells of the model's diameter, with labels that fit the image, and say where nothing is known."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import zarr

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work.simulate import simulate
from bigcp3d.work.train import samples
from bigcp3d.work.train.samples import Look, NoiseSource, TissueSource
from bigcp3d.work.train.settings import TrainSettings
from bigcp3d.work.train.train_checks import make_card
from bigcp3d.work.train.training_cells import measure_cells, measure_diameter
from bigcp3d.work.train.training_data import open_training_data
from bigcp3d.work.train.volume_source import open_volume

SHAPE = (30, 70, 60)
SCALE = (2.0, 1.0, 1.0)
LOOK = Look(8.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Nuclei of about 10 micrometres, 5 voxels in z and 10 in y and x."""
    path = tmp_path_factory.mktemp("samples") / "nuclei.zarr"
    tissue = Tissue(SHAPE, 10.0, "nuclei", seed=3, scale=SCALE, empty=0.2, noise=0.05)
    simulate(path, tissue, scale_um=SCALE)
    return path


def opened(store, *, image=True, part=None, diameter=None, smallest=0):
    labels = open_labels(store, "truth")
    return open_volume(
        open_image(store) if image else None, labels, LOOK, part=part or Box.of_shape(SHAPE), diameter_um=diameter,
        min_cell_vox=smallest,
    )  # fmt: skip


def test_cells_are_measured_as_on_the_whole_array(store):
    box = Box((3, 0, 10), (29, 70, 55))
    array = read_box(open_labels(store, "truth"), 0, box)
    cells = measure_cells(open_labels(store, "truth"), box)
    ids, first = np.unique(array[array > 0], return_index=True)
    assert cells.ids.tolist() == ids[np.argsort(first)].tolist()
    for key, count, centre, cut in zip(cells.ids, cells.count, cells.centre, cells.cut, strict=True):
        points = np.argwhere(array == key)
        assert count == len(points)
        np.testing.assert_allclose(centre, points.mean(axis=0) + box.start)
        assert cut == bool((points == 0).any() or (points == np.array(array.shape) - 1).any())


def test_the_diameter_is_the_median_of_whole_cells(store):
    cells = measure_cells(open_labels(store, "truth"), Box.of_shape(SHAPE))
    whole = np.cbrt(6 / np.pi * 2.0 * cells.count[~cells.cut])
    assert measure_diameter(cells, SCALE, "") == pytest.approx(np.median(whole))
    assert measure_diameter(cells, (1, 1, 1), "") < np.median(whole)
    assert opened(store, diameter=16.0).factors == (1.0, 2.0, 2.0)


def test_samples_have_the_models_diameter_whatever_the_voxels(store):
    """Each sample has another size; the typical one is the model's."""
    source, diameters = opened(store), []
    for seed in range(25):
        counts = np.bincount(source.draw(np.random.default_rng(seed), (40, 60, 60)).labels.ravel())[1:]
        diameters.append(np.cbrt(6 / np.pi * np.median(counts[counts > 20])))
    assert np.median(diameters) == pytest.approx(8.0, rel=0.3)
    assert max(diameters) > 1.5 * min(diameters)


@pytest.mark.parametrize("image", [True, False])
def test_image_and_labels_lie_on_each_other_and_nothing_is_known_beyond_the_volume(store, image):
    source = opened(store, image=image)
    unknown = 0
    for seed in range(6):
        sample = source.draw(np.random.default_rng(seed), (32, 48, 48))
        again = source.draw(np.random.default_rng(seed), (32, 48, 48))
        assert all(np.array_equal(a, b) for a, b in zip(sample, again, strict=True))
        assert sample.image.shape[1:] == sample.labels.shape == sample.known.shape == (32, 48, 48)
        assert len(sample.image) == 1
        assert not sample.labels[~sample.known].any()
        unknown += int((~sample.known).sum())
        if image and (sample.labels > 0).sum() > 500:
            (seen,) = sample.image
            bright = seen[sample.labels > 0].mean() - seen[(sample.labels == 0) & sample.known].mean()
            turned = sample.labels[::-1, ::-1]
            assert bright > 0.15
            assert bright > seen[turned > 0].mean() - seen[turned == 0].mean()
    assert unknown > 0


def test_a_part_is_all_that_is_seen(store):
    part = Box((0, 0, 0), (30, 70, 20))
    array = read_box(open_labels(store, "truth"), 0, part)
    seen = set()
    source = opened(store, part=part)
    for seed in range(8):
        numbers = np.unique(source.draw(np.random.default_rng(seed), (32, 48, 48)).labels)
        seen |= set(source.cells.ids[numbers[numbers > 0] - 1].tolist())
    assert seen <= set(np.unique(array).tolist())
    assert set(np.unique(read_box(open_labels(store, "truth"), 0, Box.of_shape(SHAPE))).tolist()) - seen


def test_the_image_is_read_at_the_level_that_a_segmentation_reads(tmp_path, write_labels):
    """Level 0 is dark, so what is seen comes from level 1, and so do the percentiles."""
    labels = np.zeros((12, 40, 48), np.uint8)
    for number, (z, y, x) in enumerate([(2, 4, 10), (0, 20, 12), (4, 28, 34), (2, 8, 30)]):
        labels[z : z + 8, y : y + 8, x : x + 8] = number + 1
    image = create_image(
        tmp_path / "i.zarr", labels.shape, "uint16", scale_um=(1.0, 1.0, 1.0), factors=[(1, 2, 2)], chunk=(12, 40, 48),
        shard=(12, 40, 48),
    )  # fmt: skip
    small = Box.of_shape((12, 20, 24))
    write_image_box(image, small, 900 * (labels[:, ::2, ::2] > 0).astype(np.uint16), level=1)
    truth = open_labels(write_labels(tmp_path / "l", labels), "")
    for first, begin in ((0, 0), (5, 6)):
        part = Box((0, 0, first), labels.shape)
        source = open_volume(image, truth, Look(4.0, 1.0, 99.0), part=part, diameter_um=8.0, min_cell_vox=0)
        assert (source.level, source.ranges, source.part.start) == (1, ((0.0, 900.0),), (0, 0, begin))
        sample = replace(source, jitter=False).draw(np.random.default_rng(0), (6, 20, 20))
        assert (sample.labels > 0).any()
        assert np.array_equal((sample.image[0] > 0.5)[sample.known], (sample.labels > 0)[sample.known])


def test_a_diameter_that_cannot_be_is_refused_and_later_time_points_are_told(tmp_path, write_labels, store, caplog):
    with pytest.raises(InputError, match=r"would cover 62\.5 voxels of level 0"):
        opened(store, diameter=1000.0)
    labels = np.zeros((2, 8, 16, 16), np.uint8)
    labels[:, 2:6, 2:8, 2:8] = 1
    movie = open_labels(write_labels(tmp_path / "m", labels), "")
    open_volume(None, movie, LOOK, part=Box.of_shape(labels.shape[1:]), diameter_um=None, min_cell_vox=0)
    assert "has 2 time points; only the first is learned from" in caplog.text


def test_crumbs_are_neither_cell_nor_background(store):
    sizes = measure_cells(open_labels(store, "truth"), Box.of_shape(SHAPE))
    limit = int(np.median(sizes.count))
    source, plain = opened(store, diameter=10.0, smallest=limit), opened(store, diameter=10.0)
    small = set(sizes.ids[sizes.count < limit].tolist())
    for seed in range(4):
        sample = source.draw(np.random.default_rng(seed), (32, 48, 48))
        numbers = np.unique(sample.labels)
        assert not small & set(source.cells.ids[numbers[numbers > 0] - 1].tolist())
        assert not sample.known.all()
    assert set(source.cells.ids.tolist()) == set(plain.cells.ids.tolist()) - small


@pytest.mark.parametrize("dtype", ["uint64", "int64"])
def test_samples_do_not_depend_on_the_ids(store, tmp_path, write_labels, dtype):
    """Sparse ids beyond 31 bits, also the largest of the dtype."""
    plain = read_box(open_labels(store, "truth"), 0, Box.of_shape(SHAPE))
    ids = np.random.default_rng(0).integers(2**59, 2**62, int(plain.max()) + 1).astype(dtype)
    ids[0], ids[2] = 0, np.iinfo(dtype).max
    write_labels(tmp_path / "sparse", ids[plain])
    one = opened(store, diameter=10.0)
    other = open_volume(
        open_image(store), open_labels(tmp_path / "sparse", ""), LOOK, part=one.part, diameter_um=10.0, min_cell_vox=0
    )
    for seed in range(2):
        a, b = (s.draw(np.random.default_rng(seed), (16, 32, 32)) for s in (one, other))
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_what_was_not_annotated_is_neither_cell_nor_background(tmp_path, write_labels, caplog):
    labels = np.zeros((16, 32, 32), np.int16)
    labels[4:12, 4:12, 4:12], labels[:, 16:], labels[:, 20:] = 1, -1, -7
    path = write_labels(tmp_path / "l", labels)
    source = open_volume(
        None, open_labels(path, ""), Look(8.0), part=Box.of_shape(labels.shape), diameter_um=8.0, min_cell_vox=0
    )
    assert "8192 voxels have a negative id" in caplog.text
    for seed in range(3):
        sample = replace(source, jitter=False).draw(np.random.default_rng(seed), (16, 32, 32))
        assert not sample.known.all()
        assert sample.labels.min() >= 0
        assert not sample.labels[~sample.known].any()


def test_what_cannot_be_learned_from_is_refused(store, tmp_path, write_labels):
    empty = open_labels(write_labels(tmp_path / "e", np.zeros((5, 6, 7), np.uint8)), "")
    with pytest.raises(InputError, match="these labels are empty"):
        open_volume(None, empty, LOOK, part=Box.of_shape((5, 6, 7)), diameter_um=None, min_cell_vox=0)
    with pytest.raises(InputError, match=r"\(5, 6, 7\).*\(30, 70, 60\)"):
        open_volume(open_image(store), empty, LOOK, part=Box.of_shape((5, 6, 7)), diameter_um=None, min_cell_vox=0)
    small = np.zeros((5, 6, 7), np.uint8)
    small[1:3, 2:4, 3] = 9
    small = open_labels(write_labels(tmp_path / "s", small), "")
    with pytest.raises(InputError, match=r"has 4 voxels, .* only cells of 5 or more; give a smaller --min-cell$"):
        open_volume(None, small, LOOK, part=Box.of_shape((5, 6, 7)), diameter_um=None, min_cell_vox=5)


@pytest.mark.parametrize("stain", ["membrane", "nuclei"])
def test_simulated_samples_hold_cells_and_follow_from_the_seed(stain):
    source = TissueSource(stain, LOOK, (64, 96, 96))
    samples = [source.draw(np.random.default_rng(seed), (24, 32, 32)) for seed in (0, 1, 2, 0)]
    assert all(np.array_equal(a, b) for a, b in zip(samples[0], samples[3], strict=True))
    assert not np.array_equal(samples[0].image, samples[1].image)
    assert any(sample.labels.any() for sample in samples)
    assert all(sample.known.all() for sample in samples)


@pytest.mark.parametrize("stain", ["membrane", "nuclei"])
@pytest.mark.parametrize("rendered", [0.0, 1.0])
def test_a_sample_of_mixed_sizes_holds_small_beside_large_cells(monkeypatch, stain, rendered):
    spread = []
    for mixed in (0.0, 1.0):
        monkeypatch.setattr(samples, "MIXED", mixed)
        monkeypatch.setattr(samples, "RENDERED", rendered)
        source, ratios = TissueSource(stain, LOOK, (48, 64, 64)), []
        for seed in range(12):
            labels = source.draw(np.random.default_rng(seed), (40, 48, 48)).labels[4:-4, 4:-4, 4:-4]
            volumes = np.bincount(labels.ravel())[1:]
            volumes = volumes[volumes > 20]
            if len(volumes) > 4:
                low, high = np.percentile(volumes, (10, 90))
                ratios.append(high / low)
        spread.append(np.median(ratios))
    assert spread[1] > 1.2 * spread[0], spread


@pytest.mark.parametrize("stain", ["membrane", "nuclei"])
def test_a_sample_may_be_larger_than_the_usual_tissue(stain):
    source = TissueSource(stain, LOOK, (16, 24, 24))
    for seed in range(6):
        assert source.draw(np.random.default_rng(seed), (24, 32, 24)).labels.shape == (24, 32, 24)


def test_noise_holds_nothing():
    sample = NoiseSource(LOOK).draw(np.random.default_rng(0), (16, 24, 24))
    assert not sample.labels.any()
    assert sample.known.all()
    assert sample.image.std() > 0


def test_nuclei_are_painted_into_the_cells_of_a_volume(store):
    source = open_volume(
        None, open_labels(store, "truth"), LOOK, part=Box.of_shape(SHAPE), diameter_um=None, min_cell_vox=0,
        stain="nuclei",
    )  # fmt: skip
    contrast, filled = [], []
    for seed in range(12):
        sample = source.draw(np.random.default_rng(seed), (24, 32, 32))
        inside = sample.labels > 0
        filled.append(inside.mean())
        if inside.sum() > 200:
            contrast.append(sample.image[0][inside].mean() - sample.image[0][~inside].mean())
    assert 0.02 < np.mean(filled) < 0.4  # less than the cells themselves, which lie close
    assert np.mean(np.array(contrast) > 0.05) > 0.7
    plain = replace(source, jitter=False, stain="membrane")
    cells = [plain.draw(np.random.default_rng(seed), (24, 32, 32)).labels > 0 for seed in range(12)]
    assert np.mean(filled) < 0.8 * np.mean(cells)


def test_only_named_volumes_are_held_out(store, tmp_path):
    other = tmp_path / "other.zarr"
    simulate(other, Tissue(SHAPE, 10.0, "nuclei", seed=4, scale=SCALE), scale_um=SCALE)
    settings = TrainSettings(
        volumes=[store, other], painted=[other], output="m.safetensors", holdout_x={store: 0.5}, min_cell_vox=0,
        simulate="nuclei",
    )  # fmt: skip
    data = open_training_data(settings, make_card(settings, (0,)), (0,))
    (volumes, painted, tissue, _) = data.kinds
    assert len(tissue) == 1, "simulated, but not held out"
    assert [source.part.stop[2] for _, source in (*volumes, *painted)] == [30, 60, 60]
    assert [(name, source.part.start[2]) for name, source in data.held_out] == [(str(store), 30)]
    none, alone = (replace(settings, holdout_x=0.0, **change) for change in ({}, {"volumes": [], "painted": []}))
    assert [len(open_training_data(each, make_card(each, (0,)), (0,)).held_out) for each in (none, alone)] == [0, 1]


def test_a_record_of_a_training_changes_with_the_labels(store, tmp_path):
    def described():
        settings = TrainSettings(volumes=[tmp_path / "copy.zarr"], output="m.safetensors", diameter_um=10.0)
        return open_training_data(settings, make_card(settings, (0,)), (0,)).described["volumes"]

    shutil.copytree(store, tmp_path / "copy.zarr")
    before = described()
    assert described() == before
    array = zarr.open_array(tmp_path / "copy.zarr/labels/truth/0", mode="r+")
    labels = array[...]
    labels[tuple(np.argwhere(labels > 0)[40])] = 0
    array[...] = labels
    assert described() != before
