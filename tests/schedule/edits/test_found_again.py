"""A cell is split by a smaller closing, and a missed one is added, from the maps that the labels' run kept."""

from __future__ import annotations

import shutil
from contextlib import suppress

import numpy as np
import pytest

import bigcp3d
from bigcp3d.errors import InputError
from tests.schedule.conftest import read_labels, tissue_values, write_image

SHAPE = (20, 40, 40)


@pytest.fixture(scope="module")
def labelled(random_model, tmp_path_factory):
    """Labels that a larger closing fused."""
    path = tmp_path_factory.mktemp("maps") / "image.zarr"
    write_image(path, tissue_values(SHAPE))
    settings = {"model": random_model, "min_volume": 2, "diameter_um": "as-is", "executor": "serial"}
    bigcp3d.segment(path, keep_maps=True, closing_vox=3, **settings)
    return path


@pytest.fixture
def store(labelled, tmp_path):
    shutil.copytree(labelled.parent, tmp_path / "copy")
    return tmp_path / "copy" / "image.zarr"


def test_a_fused_cell_falls_into_parts_with_a_smaller_closing(store):
    before = read_labels(store, "cells")
    edits = bigcp3d.edit(store)
    for cell in np.argsort(-np.bincount(before.ravel())[1:]) + 1:
        with suppress(InputError):
            change = edits.split(int(cell))
            break
    after = read_labels(store, "cells")
    assert change.given["closing_vox"] < 3
    assert np.array_equal(after > 0, before > 0)
    assert set(np.unique(after[before == cell])) == {made["id"] for made in change.made}
    assert len(change.made) > 1
    edits.undo()
    assert np.array_equal(read_labels(store, "cells"), before)


def test_a_cell_that_was_deleted_is_added_again_at_a_seed(store):
    before = read_labels(store, "cells")
    edits = bigcp3d.edit(store)
    cell = int(np.bincount(before[4:-4, 10:-10, 10:-10].ravel())[1:].argmax()) + 1
    point = edits.delete(cell).cells[0]["point"]
    change = edits.add(at=point)
    (new,) = (made["id"] for made in change.made)
    after = read_labels(store, "cells")
    assert new > before.max()
    assert (before[after == new] == cell).mean() > 0.9
