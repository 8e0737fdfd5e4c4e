"""Reads a folder of planes or stacks: one TIFF or PNG file for each, in the order of the numbers in their names.

Where several numbers change, as in ``t01_c0_z013.tif``, the letters before them say which axis each counts.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bigcp3d.edge.convert.source import UNKNOWN, Part, Source
from bigcp3d.edge.convert.tiff import open_tiff
from bigcp3d.edge.image.other_formats import planes_in
from bigcp3d.errors import InputError
from bigcp3d.pure.plural import count

WORDS = {
    **dict.fromkeys(("t", "tp", "time", "frame"), "t"),
    **dict.fromkeys(("c", "ch", "channel", "w"), "c"),
    **dict.fromkeys(("z", "slice", "plane", "sl"), "z"),
}
"""Words before a number in a file's name, and the axis that the number counts."""


def open_planes(folder: Path) -> Source:
    """A folder of planes or stacks of one size; `InputError` where they differ, or one is missing."""
    files = sorted(planes_in(folder), key=lambda file: (_split(file.name)[1], file.name))  # 10 follows 9
    first = _look(files[0])
    if first.in_several_files:
        raise InputError(f"{files[0]}: this file also names the planes of others; give this file, not the folder")
    what = "plane" if len(first.shape) == 2 or first.axes == "yxs" else "stack"
    for file in files[1:]:
        found = _look(file)
        if (found.shape, found.dtype) != (first.shape, first.dtype):
            raise InputError(
                f"{file}: this {what} is {found.dtype} of shape {found.shape}, but {files[0].name} is {first.dtype} of "
                f"{first.shape}; put only files of one image into the folder"
            )
    letters, counts = _read_numbers(folder, files)
    if twice := set(letters) & set(first.axes) - {UNKNOWN}:
        raise InputError(
            f"{folder}: the names of the files count {' and '.join(sorted(twice))}, but each file has this axis too; "
            "convert each file by itself: bigcp3d convert FILE OUT.zarr"
        )
    table = np.arange(len(files)).reshape(counts)

    def read(part: Part) -> NDArray[Any]:
        chosen = table[part[: len(counts)]]
        found = [_read_part(files[i], part[len(counts) :]) for i in chosen.ravel()]
        return np.stack(found).reshape(*chosen.shape, *found[0].shape)

    return Source(
        path=folder,
        kind=f"a folder of {count(len(files), what)}",
        axes=letters + first.axes,
        shape=(*counts, *first.shape),
        dtype=first.dtype,
        read=read,
        rows=first.rows,
        scale_um={name: size for name, size in first.scale_um.items() if what == "stack" or name in "yx"},
        channel_names=first.channel_names if "c" in first.axes else (),
    )


def _look(file: Path) -> Source:
    """What a file holds; it is closed again."""
    source = _open(file)
    source.close()
    return source


def _open(file: Path) -> Source:
    """A file of the folder; its voxels are not read yet."""
    if file.suffix.lower() != ".png":
        return open_tiff(file, None)
    with Image.open(file) as picture:
        samples = len(picture.getbands())
        if samples > 1 and _png_bits(file) == 16:  # Pillow would give the high byte alone
            raise InputError(f"{file}: this PNG file has colours of 16 bits, which cannot be read; save it as TIFF")
        shape = (picture.height, picture.width)
        dtype = np.dtype("uint16" if picture.mode.startswith("I") else "bool" if picture.mode == "1" else "uint8")
    colours = (samples,) if samples > 1 else ()
    return Source(
        path=file,
        kind="a PNG file",
        axes="yxs" if colours else "yx",
        shape=(*shape, *colours),
        dtype=dtype,
        read=lambda part: _read_png(file)[part],
        rows=shape[0],
    )


def _png_bits(file: Path) -> int:
    """Bits of a sample, as the header says."""
    with open(file, "rb") as stream:
        return stream.read(25)[24]


def _read_part(file: Path, part: Part) -> NDArray[Any]:
    """A part of a file, which is open only meanwhile."""
    source = _open(file)
    try:
        return source.read(part)
    finally:
        source.close()


def _read_png(file: Path) -> NDArray[Any]:
    with Image.open(file) as picture:
        plane = np.asarray(picture)
        return plane.astype(np.uint16) if picture.mode.startswith("I") else plane


def _split(name: str) -> tuple[list[str], list[int]]:
    """The words and the numbers of a file's name, one word before each number, and one after the last."""
    parts = re.split(r"(\d+)", name)
    return parts[0::2], [int(part) for part in parts[1::2]]


def _read_numbers(folder: Path, files: Sequence[Path]) -> tuple[str, tuple[int, ...]]:
    """What the numbers in the names count, a letter each, and how many there are of each; nothing for one file."""
    split = [_split(file.name) for file in files]
    words = split[0][0]
    if any(other != words for other, _ in split):
        other = next(file for file, (texts, _) in zip(files, split, strict=True) if texts != words)
        raise InputError(
            f"{folder}: the names of the planes differ in more than numbers ({files[0].name}, {other.name}); put the "
            "planes of one channel into one folder, with names that end in numbers"
        )
    values = [sorted({numbers[i] for _, numbers in split}) for i in range(len(words) - 1)]
    varying = [i for i, found in enumerate(values) if len(found) > 1]
    counts = tuple(len(values[i]) for i in varying)
    present = [tuple(numbers[i] for i in varying) for _, numbers in split]
    if present != list(itertools.product(*(values[i] for i in varying))):
        raise InputError(
            f"{folder}: {math.prod(counts)} planes are expected from the numbers in the names ({files[0].name} to "
            f"{files[-1].name}), but there are {len(files)}; add the missing ones, or take the others out"
        )
    letters = "".join(WORDS.get(re.split(r"[^A-Za-z]+", words[i].rstrip("_- ."))[-1].lower(), UNKNOWN) for i in varying)
    for letter, i in zip(letters, varying, strict=True):
        if letter != "c":  # the numbers of channels may be wavelengths
            _check_steps(folder, values[i])
    return letters, counts


def _check_steps(folder: Path, numbers: Sequence[int]) -> None:
    """Refuse numbers that do not rise in equal steps: planes are missing, and the stack would only be thinner."""
    step = min(high - low for low, high in itertools.pairwise(numbers))
    gaps = (n for low, high in itertools.pairwise(numbers) for n in range(low + step, high, step))
    missing = list(map(str, itertools.islice(gaps, 11)))
    if missing:
        listed = ", ".join(missing[:10]) + (" and others" if len(missing) > 10 else "")
        raise InputError(
            f"{folder}: the numbers in the names of the planes go from {numbers[0]} to {numbers[-1]} without {listed}; "
            "add the missing planes, or rename the files so that their numbers rise in equal steps"
        )
