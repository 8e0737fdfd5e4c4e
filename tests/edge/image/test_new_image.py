"""Images that the simulator writes: whole shards, read back as written."""

import numpy as np
import pytest
import zarr

from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.edge.image.voxels import missing_chunks, read_box
from bigcp3d.errors import TargetError
from bigcp3d.pure.boxes import BlockGrid, Box

SHAPE = (10, 17, 20)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_is_read_back_as_written(tmp_path, version, channels):
    voxels = np.random.default_rng(0).integers(0, 60000, (channels, *SHAPE)).astype("uint16")
    image = create_image(
        tmp_path / "in" / "a.zarr",
        SHAPE,
        "uint16",
        scale_um=(2, 0.5, 0.25),
        channels=channels,
        version=version,
        chunk=(4, 4, 4),
        shard=(8, 8, 8),
        name="tissue",
    )
    assert (image.version, image.channels, image.axes[-3:]) == (version, channels, ("z", "y", "x"))
    assert image.axes[0] == ("c" if channels > 1 else "z")
    assert image.levels[0].scale_um == (2, 0.5, 0.25)
    grid = BlockGrid(SHAPE, (8, 8, 8))
    for channel in range(channels):
        for core in map(grid.core, grid):
            write_image_box(image, core, voxels[channel][core.slices()], channel=channel)
    for channel in range(channels):
        np.testing.assert_array_equal(read_box(image, 0, Box.of_shape(SHAPE), channel=channel), voxels[channel])
    array = zarr.open_array(tmp_path / "in" / "a.zarr" / "0", mode="r")
    assert array.chunks[-3:] == (4, 4, 4)
    assert (array.shards or (None,) * 4)[-3:] == ((None,) * 3 if version == "0.4" else (8, 8, 8))
    assert open_image(tmp_path / "in" / "a.zarr") == image


@pytest.mark.parametrize(("version", "unit"), [("0.4", (4, 4, 4)), ("0.5", (8, 8, 8))])
def test_parts_of_shards_are_not_written(tmp_path, version, unit):
    image = create_image(
        tmp_path / "a.zarr", SHAPE, "uint8", scale_um=None, version=version, chunk=(4, 4, 4), shard=(8, 8, 8)
    )
    write_image_box(image, Box((0, 0, 0), unit), np.ones(unit, "uint8"))
    half = tuple(side // 2 for side in unit)
    with pytest.raises(ValueError, match="is not made of whole"):
        write_image_box(image, Box((0, 0, 0), half), np.ones(half, "uint8"))


def test_an_image_without_a_scale_says_so(tmp_path):
    image = create_image(tmp_path / "a.zarr", SHAPE, "uint8", scale_um=None, chunk=(4, 4, 4), shard=(8, 8, 8))
    assert image.units == (None, None, None)


def test_nothing_is_replaced(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "precious").write_text("x")
    with pytest.raises(TargetError, match="this path exists already; give another path, or delete it"):
        create_image(tmp_path / "a.zarr", SHAPE, "uint8", scale_um=None, chunk=(4, 4, 4), shard=(8, 8, 8))
    assert [p.name for p in (tmp_path / "a.zarr").iterdir()] == ["precious"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_pieces_of_nothing_but_0_are_stored_so_that_a_lost_one_is_noticed(tmp_path, version):
    sides = {"chunk": (4, 4, 4), "shard": (8, 8, 8)}
    image = create_image(tmp_path / "a.zarr", (8, 8, 16), "uint8", scale_um=None, version=version, **sides)
    whole = Box.of_shape((8, 8, 16))
    write_image_box(image, whole, np.zeros((8, 8, 16), np.uint8))
    assert missing_chunks(image, 0, whole) == []
    files = sorted(path for path in (tmp_path / "a.zarr/0").rglob("*") if path.is_file() and path.name[0].isdigit())
    files[0].unlink()
    assert len(missing_chunks(image, 0, whole)) == 1
