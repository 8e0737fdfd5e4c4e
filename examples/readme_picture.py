"""The picture at the top of README.md: nuclei of a mouse blastocyst that the model never saw.

    python examples/readme_picture.py [--data ../shared/data] [--out examples/pictures/blastocyst.png]

The image is IDR 6001240 (idr0062, CC BY 4.0), channel DAPI; any other OME-Zarr of it will do. A minute on two cores.
"""

import argparse
import tempfile
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import bigcp3d
from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.face.pictures.planes_picture import Tile, colour_image, colour_labels, read_planes

SCALE_UM = (0.5, 0.36, 0.36)  # the store says nothing of it
DAPI = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("examples/pictures/blastocyst.png"))
    arguments = parser.parse_args()
    source = arguments.data / "blastocyst.zarr"
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.zarr"
        settings = {"model": "nuclei", "channel": DAPI, "scale_um": SCALE_UM, "diameter_um": 12.0}
        summary = bigcp3d.segment(source, output=result, **settings)
        planes = read_planes(open_image(source), open_labels(result, "cells"), channel=DAPI)[:2]
    print(f"{summary.cells} nuclei")

    aspects = (1.0, SCALE_UM[0] / SCALE_UM[2])
    heights = [plane.image.shape[0] * aspect for plane, aspect in zip(planes, aspects, strict=True)]
    figure = Figure(figsize=(9.0, 4.5 * sum(heights) / planes[0].image.shape[1]))
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, 2, height_ratios=heights)
    for row, plane, aspect in zip(grid, planes, aspects, strict=True):
        Tile("", colour_image(plane.image), plane.labels).show(row[0], aspect)
        Tile("", colour_labels(plane.labels)).show(row[1], aspect)
    figure.subplots_adjust(0, 0, 1, 1, wspace=0.01, hspace=0.01)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out, dpi=80)


if __name__ == "__main__":
    main()
