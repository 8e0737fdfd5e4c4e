"""What a table of 10^5 cells costs beside their segmentation: ``python -m tests.benchmarks.table``.

Both run in one process and one thread, on small cells (12 voxels across, 900 voxels each), which favours the
segmentation: its time goes with the voxels, the table's with the cells as well. The table is of the true cells, so that
their number is known, and of those that were found.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import bigcp3d
from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.tissue.tissue_settings import Tissue
from tests.benchmarks.report import Row, show, spend, write_json


def run(shape: Vec3, diameter: float, folder: Path) -> list[Row]:
    """A row for the segmentation and one for each table."""
    store = folder / "tissue.zarr"
    bigcp3d.simulate(store, Tissue(shape, diameter, "membrane", empty=0.0), scale_um=(1.0, 1.0, 1.0))
    warm = folder / "warm.zarr"
    bigcp3d.simulate(warm, Tissue((32, 64, 64), diameter, "membrane"))
    bigcp3d.segment(warm, executor="serial", model="membrane", diameter_um="as-is")
    bigcp3d.measure(warm)
    summary, whole = spend(lambda: bigcp3d.segment(store, executor="serial", model="membrane", diameter_um="as-is"))
    rows: list[Row] = [{"what": "segment", "cells": summary.cells, **whole}]
    for name in ("truth", "cells"):
        for output in (None, folder / f"{name}.parquet", folder / f"{name}.csv", "zarr"):
            table, spent = spend(lambda name=name, output=output: bigcp3d.measure(store, name, output=output))  # type: ignore[misc]
            what = f"measure {name}, {Path(output).suffix[1:] or output if output else 'not written'}"
            share = {f"{key} / segment": spent[key] / whole[key] for key in spent}
            rows.append({"what": what, "cells": len(table), **spent, **share})
    return rows


def main(arguments: list[str] | None = None) -> list[Row]:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(448, 448, 448))
    parser.add_argument("--diameter-voxels", type=float, default=12.0)
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="table_"))
    try:
        rows = run(tuple(asked.shape), asked.diameter_voxels, folder)
    finally:
        shutil.rmtree(folder)
    print(show(f"cells of {asked.diameter_voxels:g} voxels in {asked.shape}, one thread", rows))
    write_json(asked.json, {"table": rows})
    return rows


if __name__ == "__main__":
    main()
