"""The options of an export, each declared once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from bigcp3d.edge.labels.default_name import DEFAULT_NAME
from bigcp3d.option import Option
from bigcp3d.schedule.planning.request import Roi

WHAT = "What is exported"
FILE = "The file"


@dataclass(frozen=True)
class ExportRequest:
    """The options of an export; the arguments of `bigcp3d.export`."""

    store: Annotated[str | Path, Option(metavar="STORE", positional=True)]
    """OME-Zarr image, with or without labels, or a store that holds labels."""
    output: Annotated[str | Path, Option(metavar="FILE.tif", positional=True)]
    """The file to write: NAME.ome.tif becomes OME-TIFF, NAME.tif a hyperstack for ImageJ and Fiji, and NAME.ozx a zip
    archive of the whole store."""
    what: Annotated[Literal["labels", "image"], Option(WHAT)] = "labels"
    """The labels, or the image itself."""
    name: Annotated[str, Option(WHAT)] = DEFAULT_NAME
    """Name of the labels: labels/NAME."""
    channel: Annotated[int | str | Sequence[int | str] | None, Option(WHAT, "N|NAME", many=True)] = None
    """Number of the channel, from 0, or its name. May be repeated. Default: all."""
    level: Annotated[int, Option(WHAT, "N")] = 0
    """Resolution; 0 is the finest."""
    roi: Annotated[Roi | None, Option(WHAT, "Z0:Z1,Y0:Y1,X0:X1")] = None
    """Export this region only, such as 0:64,100:228,: (z, y, x) in voxels of level 0. With um at the end, the numbers
    are micrometres."""
    scale_um: Annotated[tuple[float, float, float] | None, Option(WHAT, "Z Y X")] = None
    """Voxel size of level 0 in micrometres, if that in the store is missing or wrong."""
    time: Annotated[str | int | None, Option(WHAT, metavar="A:B")] = None
    """Time points: 5, or 3:10 for 3 to 9. Default: all."""
    overwrite: Annotated[bool, Option(FILE)] = False
    """Replace an existing file."""
