"""Rectilinear chunks are read where zarr reads them; an older zarr is named before any work."""

import json

import numpy as np
import pytest
import zarr

from bigcp3d.edge.image.count_chunks import count_chunks
from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.image.voxels import missing_chunks, read_box, stored_chunk
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box

SIZES = [[5, 7], [4, 8, 8], [22]]


@pytest.fixture
def store(stores):
    """An image of which each chunk is written by hand, without compression, but one, which is not stored."""
    path = stores.image("0.5")
    voxels = zarr.open_array(path / "0", mode="r")[...]
    node = json.loads((path / "0" / "zarr.json").read_text())
    grid = {"name": "rectilinear", "configuration": {"kind": "inline", "chunk_shapes": SIZES}}
    node |= {"chunk_grid": grid, "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}]}
    (path / "0" / "zarr.json").write_text(json.dumps(node))
    for file in (path / "0" / "c").rglob("*"):
        if file.is_file():
            file.unlink()
    z0 = 0
    for i, z in enumerate(SIZES[0]):
        y0 = 0
        for j, y in enumerate(SIZES[1]):
            if (i, j) != (1, 2):
                file = path / "0" / "c" / str(i) / str(j) / "0"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(voxels[z0 : z0 + z, y0 : y0 + y].astype("<u2").tobytes())
            y0 += y
        z0 += z
    voxels[5:, 12:] = 0
    return path, voxels


def test_rectilinear_chunks_are_read_or_refused_in_one_sentence(store):
    path, voxels = store
    if tuple(map(int, zarr.__version__.split(".")[:2])) < (3, 3):
        with pytest.raises(InputError, match=r"image.zarr/0: its chunks differ in size \(rectilinear\), which zarr 3"):
            open_image(path)
        return
    image = open_image(path)
    box = Box((1, 2, 3), (11, 19, 22))
    np.testing.assert_array_equal(read_box(image, 0, box), voxels[box.slices()])
    assert stored_chunk(image, 0) == (7, 8, 22)
    assert missing_chunks(image, 0, box) == []
    found = count_chunks(image, 0)
    assert (found.stored, found.expected, found.others) == (5, 6, 0)
    file = path / "0" / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"codecs": [{"name": "bytes"}]}))
    with pytest.raises(InputError, match=r"no readable array at level path '0' \(The `endian` configuration"):
        open_image(path)
