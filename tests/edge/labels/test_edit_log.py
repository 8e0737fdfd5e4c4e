"""The voxels before a change are kept, and memory never holds more than some of them."""

import tracemalloc

import numpy as np
import pytest

from bigcp3d.edge.labels.edit_log import EditLog
from bigcp3d.edge.stores import remote
from bigcp3d.edge.stores.places import place
from bigcp3d.pure.boxes import Box

BOXES, SIDE = 16, 64


def boxes():
    """Voxels that cannot be compressed, 1 MiB each."""
    for k in range(BOXES):
        voxels = np.random.default_rng(k).integers(0, 2**32, (SIDE,) * 3, np.uint32)
        yield 0, 0, Box((0, 0, SIDE * k), (SIDE, SIDE, SIDE * (k + 1))), voxels


@pytest.fixture(params=["folder", "bucket"])
def labels(request, tmp_path, monkeypatch):
    """A folder, or a bucket; its objects are files."""
    from obstore.store import LocalStore

    bucket = LocalStore(tmp_path)
    monkeypatch.setattr(remote, "connect", lambda *_, **__: bucket)
    return place(tmp_path if request.param == "folder" else "s3://bucket/cells")


def test_what_is_kept_comes_back_and_never_lies_in_memory_as_a_whole(labels):
    log = EditLog(labels)
    tracemalloc.start()
    log.keep(1, boxes(), {"why": "test"})
    assert tracemalloc.get_traced_memory()[1] < BOXES * 2**20 / 2
    tracemalloc.reset_peak()
    for kept, wanted in zip(log.kept(1), boxes(), strict=True):
        assert kept[:3] == wanted[:3]
        assert np.array_equal(kept[3], wanted[3])
    assert log.notes(1) == {"why": "test"}
    assert tracemalloc.get_traced_memory()[1] < BOXES * 2**20 / 2
    tracemalloc.stop()
