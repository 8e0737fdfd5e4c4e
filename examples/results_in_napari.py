"""Image and labels in napari, each cell coloured by its volume; the pointer shows its numbers.

    python examples/results_in_napari.py IMAGE.zarr [LABELS]

Needs ``pip install 'napari[all]' napari-ome-zarr pandas``. To look without these colours and numbers, use
``bigcp3d view IMAGE.zarr --napari``, or ``bigcp3d view IMAGE.zarr``, which needs only a browser.
"""

import sys

import numpy as np

import bigcp3d

try:
    import napari
    import pandas as pd
    from napari.qt import run
    from napari.utils import DirectLabelColormap
except ImportError as error:
    sys.exit(f"{error}\ninstall what is missing: pip install 'napari[all]' napari-ome-zarr pandas")


def main(image: str, name: str = "cells") -> None:
    viewer = napari.Viewer()
    viewer.open(image, plugin="napari-ome-zarr")  # pyramids are read as they are looked at, so any size opens
    layer = next(layer for layer in viewer.layers if layer.name.endswith(f"/{name}"))
    layer.visible = True

    # Features are shown for the cell under the pointer; napari finds its row by the column named index.
    cells = pd.DataFrame(bigcp3d.measure(image, name).columns)
    shown = cells[["label", "volume_um3", "elongation", "neighbours", "touches_border"]]
    layer.features = shown.rename(columns={"label": "index"})

    # From blue (small) to yellow, by rank, so that a few giants do not make all others alike.
    rank = cells["volume_vox"].rank(pct=True).to_numpy()[:, None]
    colours = (1 - rank) * [0.2, 0.3, 0.9, 1] + rank * [1.0, 0.9, 0.2, 1]
    table = {int(label): colour for label, colour in zip(cells["label"], colours, strict=True)}
    layer.colormap = DirectLabelColormap(color_dict={None: np.zeros(4), 0: np.zeros(4), **table})
    run()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
