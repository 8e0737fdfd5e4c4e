"""What a user asks of an evaluation: every option of `bigcp3d.evaluate` once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bigcp3d.edge.labels.default_name import DEFAULT_NAME
from bigcp3d.errors import InputError
from bigcp3d.option import Option

WHAT = "What is compared"


@dataclass(frozen=True)
class EvaluateSettings:
    """The options of an evaluation; the arguments of `bigcp3d.evaluate`."""

    pred: Annotated[str | Path, Option(metavar="PRED.zarr", positional=True)]
    """Image or labels group with the labels found."""
    truth: Annotated[str | Path, Option(metavar="TRUTH.zarr", positional=True)]
    """Image or labels group with the true labels. An image, a zarr array or a TIFF file whose voxels are ids will also
    do."""
    pred_name: Annotated[str, Option(WHAT)] = DEFAULT_NAME
    """Name of the labels found."""
    truth_name: Annotated[str, Option(WHAT)] = "truth"
    """Name of the true labels."""
    min_cell_vox: Annotated[int, Option(WHAT, "VOX", "--min-cell-vox")] = 0
    """True cells of fewer voxels are ignored: finding them or missing them does not change the scores."""
    blocks: Annotated[tuple[float, float, float] | None, Option(WHAT, "Z Y X")] = None
    """Give separate scores for cells that lie on the borders of blocks of this size, in voxels of the labels. If the
    run resized the image, multiply each side of the block by "image voxels per working voxel", which --dry-run prints.
    Fractions are allowed."""

    whole_cells: Annotated[bool, Option(WHAT)] = False
    """Also give separate scores for cells that the border of the volume does not cut."""

    def check(self) -> None:
        """Refuse values that no labels could make right."""
        if self.blocks is not None and not min(self.blocks) > 0:
            raise InputError(f"blocks are {self.blocks}; give sizes above 0 on z, y and x")
