"""A simulated store holds the tissue's voxels, whatever its pieces, says where they come from, is whole or absent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from ome_zarr_models.v05 import Image, ImageLabel

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.errors import InputError, TargetError
from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.tissue.tissue import render
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work import simulate as simulate_module
from bigcp3d.work.simulate import simulate

TISSUE = Tissue((41, 70, 53), 13.0, "membrane", seed=1)
WHOLE = Box.of_shape(TISSUE.shape)


def stored(path: Path) -> tuple[np.ndarray, np.ndarray]:
    labels = open_labels(path, "truth")
    return read_box(open_image(path), 0, WHOLE), read_box(labels, 0, WHOLE)


@pytest.mark.parametrize(
    ("chunk", "shard", "threads"),
    [(None, (128, 128, 128), 1), (None, (16, 70, 20), 2), ((8, 4, 11), (16, 32, 11), 3), (None, (41, 7, 53), None)],
)
def test_the_store_holds_the_voxels_of_the_tissue(tmp_path: Path, chunk: Vec3 | None, shard: Vec3, threads) -> None:
    simulate(tmp_path / "a.zarr", TISSUE, chunk=chunk, shard=shard, threads=threads)
    image, labels = stored(tmp_path / "a.zarr")
    expected = render(TISSUE, WHOLE)
    np.testing.assert_array_equal(image, expected[0])
    np.testing.assert_array_equal(labels, expected[1])
    if chunk:
        array = zarr.open_array(tmp_path / "a.zarr" / "0", mode="r")
        assert (array.chunks, array.shards) == (chunk, shard)
    assert os.listdir(tmp_path) == ["a.zarr"]


def test_control_another_seed_is_another_store(tmp_path: Path) -> None:
    simulate(tmp_path / "a.zarr", Tissue(TISSUE.shape, 13.0, "membrane", seed=2))
    image, labels = stored(tmp_path / "a.zarr")
    expected = render(TISSUE, WHOLE)
    assert (image != expected[0]).mean() > 0.9
    assert (labels != expected[1]).mean() > 0.5


def test_each_shard_is_rendered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = []
    monkeypatch.setattr(simulate_module, "render", lambda tissue, box: (boxes.append(box), render(tissue, box))[1])
    simulate(tmp_path / "a.zarr", TISSUE, shard=(20, 40, 53))
    assert len(boxes) == len(set(boxes)) == 3 * 2 * 1
    assert sum(box.size for box in boxes) == WHOLE.size


def test_metadata_are_valid_and_say_where_the_voxels_come_from(tmp_path: Path) -> None:
    info = simulate(tmp_path / "a.zarr", TISSUE, scale_um=(2.0, 0.5, 0.25))
    assert info == open_image(tmp_path / "a.zarr")
    assert info.levels[0].scale_um == (2.0, 0.5, 0.25)
    assert (info.dtype, info.axes, info.label_names) == ("uint16", ("z", "y", "x"), ("truth",))
    labels = open_labels(tmp_path / "a.zarr", "truth")
    assert (labels.dtype, labels.levels[0].shape, labels.levels[0].scale_um) == (
        "uint32",
        TISSUE.shape,
        (2.0, 0.5, 0.25),
    )
    Image.from_zarr(zarr.open_group(tmp_path / "a.zarr", mode="r"))
    ImageLabel.from_zarr(zarr.open_group(tmp_path / "a.zarr" / "labels" / "truth", mode="r"))
    attributes = json.loads((tmp_path / "a.zarr" / "labels" / "truth" / "zarr.json").read_text())["attributes"]
    noted = attributes["bigcp3d"]["tissue"]
    again = Tissue(**{name: tuple(value) if isinstance(value, list) else value for name, value in noted.items()})
    assert again == TISSUE


def test_an_existing_store_is_replaced_only_when_asked_and_only_a_store(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    simulate(path, TISSUE)
    with pytest.raises(TargetError, match="already"):
        simulate(path, Tissue(TISSUE.shape, 9.0))
    np.testing.assert_array_equal(stored(path)[0], render(TISSUE, WHOLE)[0])
    other = Tissue(TISSUE.shape, 13.0, "nuclei")
    simulate(path, other, overwrite=True)
    np.testing.assert_array_equal(stored(path)[0], render(other, WHOLE)[0])
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1").write_text("years")
    with pytest.raises(TargetError, match="not a zarr group"):
        simulate(tmp_path / "thesis", TISSUE, overwrite=True)
    assert (tmp_path / "thesis" / "chapter1").read_text() == "years"
    with pytest.raises(TargetError, match="would replace the image that it imitates"):
        simulate(path, other, overwrite=True, like=path)


def test_a_simulation_that_fails_leaves_nothing_and_keeps_what_was_there(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.zarr"
    simulate(path, TISSUE)
    before = stored(path)[0]

    def fail(*_: object) -> None:
        raise TargetError("the disk is full")

    monkeypatch.setattr(simulate_module, "write_label_box", fail)
    for target in (path, tmp_path / "b.zarr"):
        with pytest.raises(TargetError, match="full"):
            simulate(target, Tissue(TISSUE.shape, 9.0), overwrite=True)
    np.testing.assert_array_equal(stored(path)[0], before)
    assert os.listdir(tmp_path) == ["a.zarr"]


MEASURE = """
import sys
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work.simulate import simulate

def peak():  # of this process; ru_maxrss would start from the parent's
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024

side, peaks = 96, []
simulate(sys.argv[1] + "/warm.zarr", Tissue((16, 16, 16)), threads=1)
for n in (0, 1, 2):
    if n:
        tissue = Tissue((n * side, 2 * side, side), 20.0)
        simulate(f"{sys.argv[1]}/{n}.zarr", tissue, shard=(side,) * 3, threads=1)
    peaks.append(peak())
wide = 1
for halo in tissue.halo:
    wide *= side + 2 * halo
print(peaks[1] - peaks[0], peaks[2] - peaks[1], 20 * wide + 12 * side**3 + 2**24)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks of memory are read from /proc")
def test_memory_stays_under_an_estimate_for_one_shard_and_does_not_grow_with_the_volume(tmp_path: Path) -> None:
    """The arrays of `render` on the shard grown by the halo (20 bytes a voxel), and what is written (12)."""
    run = subprocess.run([sys.executable, "-c", MEASURE, tmp_path], capture_output=True, text=True, check=True)
    first, more, estimate = map(int, run.stdout.split())
    assert 0.5 * estimate < first < estimate
    assert more < 8 * 2**20


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scale_um": (1.0, 0.0, 1.0)}, "give positive numbers"),
        ({"scale_um": (1.0, float("nan"), 1.0)}, "give positive numbers"),
        ({"chunk": (7, 16, 16), "shard": (16, 16, 16)}, "sides that divide"),
        ({"shard": (0, 16, 16)}, "sides of 1 voxel or more"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_written(tmp_path: Path, settings, words: str) -> None:
    with pytest.raises(InputError, match=words):
        simulate(tmp_path / "a.zarr", TISSUE, **settings)
    assert os.listdir(tmp_path) == []


def test_a_tissue_takes_the_look_of_an_image(tmp_path: Path) -> None:
    shape = (24, 48, 48)
    bright = Tissue(shape, 10.0, "nuclei", seed=2, signal=9000.0, background=2000.0, noise=0.3, empty=0.0)
    plain = Tissue(shape, 10.0, "nuclei", seed=3, empty=0.0)
    simulate(tmp_path / "bright.zarr", bright)
    simulate(tmp_path / "plain.zarr", plain)
    simulate(tmp_path / "alike.zarr", plain, like=tmp_path / "bright.zarr")
    images = [read_box(open_image(tmp_path / f"{name}.zarr"), 0, Box.of_shape(shape)) for name in ("bright", "alike")]
    assert np.percentile(images[1], (2, 99)) == pytest.approx(np.percentile(images[0], (2, 99)), abs=800)
    cells = [
        read_box(open_labels(tmp_path / f"{name}.zarr", "truth"), 0, Box.of_shape(shape)) > 0
        for name in ("plain", "alike")
    ]
    assert np.array_equal(*cells)
    attributes = json.loads((tmp_path / "alike.zarr" / "labels" / "truth" / "zarr.json").read_text())["attributes"]
    assert attributes["bigcp3d"]["tissue"]["signal"] > 4000
    simulate(tmp_path / "thin.zarr", Tissue((4, 48, 48), 10.0, "nuclei"))
    with pytest.raises(InputError, match="at least 8 voxels"):
        simulate(tmp_path / "x.zarr", plain, like=tmp_path / "thin.zarr")
    assert not (tmp_path / "x.zarr").exists()
