"""A million cells are evaluated in memory for the cells, not for the voxels. Slow: run by hand and reported.

pytest -m slow tests/work/analyse/test_evaluate_large.py -s
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

CELL = 8  # voxels a side
COUNT = 100  # cells a side
TABLE_BYTES = 1500  # a cell, for all tables while they are merged and scored

RUN = """
import json, sys, time
from bigcp3d.schedule.evaluate import evaluate

def peak_bytes():  # ru_maxrss would start from the parent's
    return 1024 * int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))

before = peak_bytes()
start = time.perf_counter()
done = evaluate(sys.argv[1], sys.argv[2], blocks=(100, 100, 100))
peak = peak_bytes()
print(json.dumps({"before": before, "peak": peak, "seconds": time.perf_counter() - start, **done.as_json()}))
"""


def slab(z0: int, z1: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Cells on a lattice with gaps; those found are shifted, and one in ten is fused, cut or missed."""
    z, y, x = np.ogrid[z0:z1, : shape[1], : shape[2]]

    def lattice(dz, dy, dx):
        k, j, i = (np.minimum((a + d) // CELL, COUNT - 1) for a, d in ((z, dz), (y, dy), (x, dx)))
        return ((k * COUNT + j) * COUNT + i + 1).astype(np.uint32)

    truth, pred = lattice(0, 0, 0), lattice(0, 1, 1)
    fate = pred * np.uint32(2654435761) >> np.uint32(16)
    pred = np.where(fate % 30 == 0, pred + 1, pred)  # fused with the next
    pred = np.where(fate % 30 == 1, pred + np.uint32(2_000_000) * (y % CELL > 3).astype(np.uint32), pred)  # cut in two
    pred = np.where((fate % 30 == 2) | (z % CELL == 0), 0, pred)
    return pred, np.where((z % CELL == 0) | (y % CELL == 0), 0, truth)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.timeout(1800)
def test_a_million_cells_need_memory_for_the_cells_alone(tmp_path, write_labels):
    shape = (CELL * COUNT,) * 3
    paths = [write_labels(tmp_path / name, np.zeros((1, 1, 1), np.uint32)) for name in "pt"]
    arrays = [
        zarr.create_array(Path(path) / "0", shape=shape, dtype="u4", chunks=(64,) * 3, overwrite=True,
                          dimension_names=["z", "y", "x"])
        for path in paths
    ]  # fmt: skip
    for z0 in range(0, shape[0], 64):
        for array, voxels in zip(arrays, slab(z0, min(z0 + 64, shape[0]), shape), strict=True):
            array[z0 : z0 + 64] = voxels
    done = subprocess.run([sys.executable, "-c", RUN, *map(str, paths)], capture_output=True, text=True, check=True)
    numbers = json.loads(done.stdout)
    used = numbers["peak"] - numbers["before"]
    print(f"\n{numbers['true_cells']:,} true cells, {numbers['found_cells']:,} found, {np.prod(shape):,} voxels:")
    print(f"{numbers['seconds']:.0f} s, {used / 2**20:.0f} MiB above {numbers['before'] / 2**20:.0f} MiB of imports")
    print({key: value for key, value in numbers.items() if not isinstance(value, list | dict)})
    assert numbers["true_cells"] == COUNT**3
    assert 0 < numbers["at_seam"]["true_cells"] < COUNT**3
    assert 0 < numbers["ap50"] < 1
    block = 64 * 256 * 256 * 4
    assert used < 20 * block + TABLE_BYTES * COUNT**3 < 2 * 4 * np.prod(shape)
