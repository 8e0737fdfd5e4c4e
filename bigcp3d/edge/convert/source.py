"""A volume in another format, as its reader gives it: axes, voxel size, names, and a function that reads parts.

Each reader makes one `Source`, and knows nothing of OME-Zarr. `bigcp3d.edge.convert.volume` gives it the axes
t, c, z, y, x.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.errors import InputError

LETTERS = "tczyxs"
"""Axes: time, channel, z, y, x, and samples of a colour."""

UNKNOWN = "?"
"""Stands for an axis that the file does not name."""

Part = tuple[slice, ...]
"""A range on each axis of the file."""


@dataclass(frozen=True)
class Source:
    """A volume in a file or a folder. Its voxels are not read yet."""

    path: Path
    kind: str  # in words: "an OME-TIFF"
    axes: str  # a letter for each axis: t, c, z, y, x, s (colour samples), or UNKNOWN
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Part], NDArray[Any]]  # with all axes of the file
    rows: int = 1  # rows along y that are decoded together
    scale_um: Mapping[str, float] = field(default_factory=dict)  # of z, y, x; only those that the file states
    channel_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what the user should know
    dataset: str | None = None  # which one is read, of a file or folder that holds several
    in_several_files: bool = False  # the file names others that hold some of the planes
    close: Callable[[], None] = lambda: None


def choose_part(path: Path, option: str, names: Sequence[str], wanted: str | int | None, shown: Sequence[str]) -> int:
    """The index of the part of a file that the user wants; `InputError` where several could be meant.

    ``option`` is the option that names it, ``shown`` are the parts in words.
    """
    listed = "; ".join(shown[:20]) + (f"; and {len(shown) - 20} more" if len(shown) > 20 else "")
    if not names:
        raise InputError(f"{path}: this file holds no volume of numbers; give another file")
    if wanted is None:
        if len(names) == 1:
            return 0
        raise InputError(f"{path}: this file holds {len(names)} volumes; give one with {option}: {listed}")
    word = str(wanted)
    if names.count(word) == 1:
        return names.index(word)
    if word.isdecimal() and int(word) < len(names):
        return int(word)
    raise InputError(f"{path}: there is no volume {word!r}; give {option} with one of these: {listed}")


def stated_lengths(lengths: Mapping[str, float | None]) -> dict[str, float]:
    """The voxel sizes that are stated: finite and above 0."""
    return {name: float(value) for name, value in lengths.items() if value is not None and 0 < value < float("inf")}
