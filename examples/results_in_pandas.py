"""The cells of a segmentation as a data frame: its columns, and questions that take one line each.

    python examples/results_in_pandas.py IMAGE.zarr cells.csv [LABELS]        (or cells.parquet; pip install pandas)

The table is made once, as ``bigcp3d measure IMAGE.zarr --output cells.csv`` does. It has one row for each cell, so it
fits in memory even if the volume does not. For 10^8 cells use Parquet (pip install pyarrow) with polars or
dask.dataframe.
"""

import sys
from pathlib import Path

import pandas as pd

import bigcp3d


def main(image: str, table: str, labels: str = "cells") -> None:
    if not Path(table).exists():  # without output, the frame is pd.DataFrame(bigcp3d.measure(image).columns)
        bigcp3d.measure(image, labels, output=table)
    cells = pd.read_parquet(table) if table.endswith(".parquet") else pd.read_csv(table)
    cells = cells.set_index("label")  # the id: the value of the cell's voxels
    print(f"{len(cells)} cells; columns: {', '.join(cells.columns)}\n")

    # A cell that the volume's border cuts is smaller than it was: leave it out of all statistics of size or shape.
    whole = cells[~cells["touches_border"].astype(bool)]
    print(f"{len(whole)} are whole. Their size, shape, and neighbours:")
    print(whole[["volume_um3", "elongation", "neighbours"]].describe().loc[["mean", "std", "min", "50%", "max"]], "\n")

    # Large cells may be two that were fused, small ones pieces. Their ids find them in `bigcp3d view`.
    print("largest:", *whole["volume_um3"].nlargest(3).index, "  smallest:", *whole["volume_um3"].nsmallest(3).index)

    # Is a stain brighter deep in the tissue? One number a layer of 10 micrometres answers.
    layer = (cells["centroid_z_um"] // 10 * 10).rename("from z (um)")
    print(cells.groupby(layer).agg(cells=("volume_um3", "size"), brightness=("mean_channel0", "mean")))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
