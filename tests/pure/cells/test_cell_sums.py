"""Sums of blocks add up to those of the volume, in little more memory than these need."""

import tracemalloc

import numpy as np

from bigcp3d.pure.cells.cell_sums import CellSums, merge_cell_sums
from bigcp3d.pure.score import overlaps
from bigcp3d.pure.score.overlaps import Overlaps, merge_gradually
from bigcp3d.pure.track.sinks import Sums

CELLS, BLOCKS, CUT, DIGITS = 20_000, 100, 50, 5


def blocks():
    """Blocks of 250 cells, of which the last ``CUT`` go on in the next block; each cell touches four others."""
    rng, step = np.random.default_rng(0), CELLS // BLOCKS
    for first in range(0, CELLS, step):
        ids = np.arange(first, min(first + step + CUT, CELLS), dtype=np.uint64) + np.uint64(1)
        sums = Sums.empty(len(ids))
        for column in sums.arrays().values():
            column[:] = rng.integers(1, 1000, column.shape)
        pred = np.repeat(ids, 4)
        contacts = Overlaps(pred, pred + np.tile(np.arange(1, 5, dtype=np.uint64), len(ids)), np.ones(len(pred), int))
        exits, light = rng.integers(0, 99, (len(ids), 13)), rng.integers(0, 2**31, (len(ids), DIGITS))
        yield CellSums(ids, sums, exits, light, contacts, unknown_vox=1)


def test_blocks_add_up_in_little_more_memory_than_their_sum(monkeypatch):
    monkeypatch.setattr(overlaps, "MERGE_ROWS", 2**12)  # as if there were many more cells
    tracemalloc.start()
    found = merge_gradually(blocks(), lambda parts: merge_cell_sums(parts, DIGITS))
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2.45 * held
    assert np.array_equal(found.ids, np.arange(1, CELLS + 1))
    assert found.unknown_vox == BLOCKS
    parts = list(blocks())
    row = np.concatenate([part.ids for part in parts]).astype(np.int64) - 1
    for name in ("exits", "light"):
        total = np.zeros_like(getattr(found, name))
        np.add.at(total, row, np.concatenate([getattr(part, name) for part in parts]))
        assert np.array_equal(getattr(found, name), total)
    for name, combine in {"count": np.add, "first": np.minimum, "high": np.maximum}.items():
        column = getattr(found.sums, name)
        total = getattr(Sums.empty(CELLS), name)
        combine.at(total, row, np.concatenate([getattr(part.sums, name) for part in parts]))
        assert np.array_equal(column, total)
