"""What a user asks of an evaluation: every option of `bigcp3d.evaluate` once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bigcp3d.errors import InputError
from bigcp3d.option import Option

WHAT = "What is compared"


@dataclass(frozen=True)
class EvaluateSettings:
    """The options of an evaluation; the arguments of `bigcp3d.evaluate`."""

    pred: Annotated[
        str | Path,
        Option("Image or labels group with the labels found.", metavar="PRED.zarr", positional=True),
    ]
    truth: Annotated[
        str | Path,
        Option("Image or labels group with the true labels.", metavar="TRUTH.zarr", positional=True),
    ]
    pred_name: Annotated[str, Option("Name of the labels found.", WHAT)] = "cells"
    truth_name: Annotated[str, Option("Name of the true labels.", WHAT)] = "truth"
    min_cell_vox: Annotated[
        int,
        Option(
            "True cells below this size are ignored: they are neither needed nor counted wrong.",
            WHAT,
            "VOX",
            "--min-cell-vox",
        ),
    ] = 0
    blocks: Annotated[
        tuple[float, float, float] | None,
        Option(
            "Score cells that this block grid cuts apart from the others; in voxels of the labels. For a run with "
            "--diameter: the working block times its factor, which may be a fraction.",
            WHAT,
            "Z Y X",
        ),
    ] = None

    def check(self) -> None:
        """Refuse values that no labels could make right."""
        if self.blocks is not None and not min(self.blocks) > 0:
            raise InputError(f"blocks are {self.blocks}; give sizes above 0 on z, y and x")
