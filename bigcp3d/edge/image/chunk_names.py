"""Checks that the files of an array are named as its metadata say."""

from __future__ import annotations

import os
import re
from itertools import islice
from pathlib import Path
from typing import Any

import zarr

from bigcp3d.errors import InputError

LOOKED_AT = 1000
"""How many files of an array are looked at; the first chunk with a right name ends the search."""

CHUNK_NAME = re.compile(r"c|(c\.)?\d+(\.\d+)*")


def check_chunk_names(array: zarr.Array[Any], folder: Path) -> None:
    """Refuse an array of which no chunk would be found, because all have names of another kind: `InputError`.

    Stores become so when they are copied by hand or their separator is edited. Every voxel would be the fill value.
    """
    key = array.metadata.encode_chunk_key((0,) * array.ndim)
    expected = re.compile(re.sub(r"\\?\d+", r"\\d+", re.escape(key.partition("/")[0])))
    other = None
    with os.scandir(folder) as entries:
        for entry in islice(entries, LOOKED_AT):
            if expected.fullmatch(entry.name):
                return
            other = entry.name if CHUNK_NAME.fullmatch(entry.name) else other
    if other is not None:
        raise InputError(
            f"{folder}: its chunks have names like {other!r}, but the metadata say that the first is {key!r}, so "
            "none is found; correct the separator in .zarray (dimension_separator) or zarr.json (chunk_key_encoding)"
        )
