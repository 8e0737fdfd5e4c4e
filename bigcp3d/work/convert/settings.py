"""The options of a conversion, each declared once. Imports nothing heavy: the command line reads them for its help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bigcp3d.option import Option, check_choices
from bigcp3d.pure.choices import WrittenVersion

WHAT = "What is read"
RESULT = "What is written"


@dataclass(frozen=True)
class ConvertSettings:
    """The options of a conversion; the arguments of `bigcp3d.convert`."""

    source: Annotated[str | Path, Option(metavar="IN", positional=True)]
    """A file or a folder of planes: TIFF, ImageJ, OME-TIFF, LSM, PNG planes, HDF5, IMS, N5; CZI, LIF, ND2 with
    bigcp3d[bioio]."""
    output: Annotated[str | Path | None, Option(metavar="OUT.zarr", positional=True)] = None
    """The OME-Zarr store to write. Default: beside IN, with its name."""
    scale_um: Annotated[tuple[float, float, float] | None, Option(WHAT, "Z Y X")] = None
    """Voxel size in micrometres, if that in the file is missing or wrong. Default: that of the file."""
    axes: Annotated[str | None, Option(WHAT, "tczyx")] = None
    """One letter for each axis of the file, in the file's order: t (time), c (channel), z, y, x, or s (the colours of
    RGB). Example: zcyx. Default: as the file says."""
    channels: Annotated[str | Sequence[str] | None, Option(WHAT, "NAME,NAME")] = None
    """Names of the channels. Default: those in the file."""
    series: Annotated[str | int | None, Option(WHAT, "N|NAME")] = None
    """Which image of a file with several (TIFF, CZI, LIF, ND2): its number, from 0, or its name."""
    dataset: Annotated[str | None, Option(WHAT, "PATH")] = None
    """Which dataset of an HDF5 file or an N5 container."""
    format: Annotated[WrittenVersion, Option(RESULT)] = "0.5"
    """Version of OME-Zarr. 0.4 suits older programs, and makes many more files. Few programs read 0.6 yet. Labels take
    the version of their image."""
    overwrite: Annotated[bool, Option(RESULT)] = False
    """Replace an existing image as soon as the new one is complete. An image with labels or tables, a plate or another
    store is never replaced."""

    def check(self) -> None:
        """Raise an `InputError` for a word that is not allowed."""
        check_choices(self)
