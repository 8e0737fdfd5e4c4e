"""Says which package has a codec that is not installed, and registers those of imagecodecs where it is installed.

Blosc gets a check: numcodecs reads beyond the end of a chunk that was cut off, and then gives wrong voxels without an
error (https://github.com/zarr-developers/numcodecs/issues/228).
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numcodecs
import zarr
from zarr.codecs import BloscCodec
from zarr.core.metadata import ArrayV3Metadata
from zarr.registry import fully_qualified_name, register_codec

BLOSC_HEADER = 16
"""Bytes; the last four are the length of the whole chunk."""

WRAPPED = "numcodecs."
"""Start of the names that codecs of numcodecs have in zarr 3."""

PACKAGES = {
    **{"pcodec": "numcodecs[pcodec]", "zfpy": "numcodecs[zfpy]", "crc32c": "numcodecs[crc32c]"},
    **{"msgpack2": "numcodecs[msgpack]", "flac": "flac-numcodecs", "wavpack": "wavpack-numcodecs"},
    **dict.fromkeys(("b2nd", "blosc2"), "blosc2"),
    **dict.fromkeys(("jpeg", "jpeg2k", "jpegxl", "jpegls", "jpegxr", "htj2k", "webp", "png"), "imagecodecs"),
}
"""Packages of codecs by name; a name may follow ``numcodecs.`` or the name of its package."""

FAMILIES = {"imagecodecs": "imagecodecs", "any_numcodecs": "zarr-any-numcodecs", "omfiles": "omfiles"}
"""Packages of all codecs whose names begin so."""

UNKNOWN = re.compile(r"(?:codec not available:|Unknown codec:|implementation for codec) '*([^']+)")
"""In the words of numcodecs, of zarr 3.1 and of zarr 3.4."""


class MissingCodecError(ValueError):
    """A codec of an array is not installed."""


class CheckedBlosc(numcodecs.Blosc):  # type: ignore[misc]
    """Blosc that refuses chunks shorter than their header says."""

    codec_id = "blosc"

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Unpack a chunk; `ValueError` where it was cut off."""
        packed = numcodecs.compat.ensure_contiguous_ndarray(buf).view("u1")
        said = int.from_bytes(packed[12:16].tobytes(), "little")
        if not BLOSC_HEADER <= said <= len(packed):
            raise ValueError(f"the chunk has {len(packed)} bytes, and its header says {said}")
        return super().decode(buf, out)


class CheckedBloscCodec(BloscCodec):
    """The same for zarr 3."""

    @cached_property
    def _blosc_codec(self) -> Any:
        return numcodecs.get_codec(super()._blosc_codec.get_config())


def register_installed() -> None:
    """Let zarr find `CheckedBlosc` and the codecs of imagecodecs, which do not register themselves."""
    numcodecs.register_codec(CheckedBlosc)
    register_codec("blosc", CheckedBloscCodec)
    zarr.config.set({"codecs.blosc": fully_qualified_name(CheckedBloscCodec)})
    if importlib.util.find_spec("imagecodecs") is not None:
        importlib.import_module("imagecodecs.numcodecs").register_codecs(verbose=False)


def describe_missing_codec(error: BaseException) -> str | None:
    """What to install, if an error of zarr says that a codec is not there; None for all other errors."""
    if isinstance(error, MissingCodecError):
        return str(error)
    found = UNKNOWN.search(str(error))
    return None if found is None else _describe(found[1])


def _describe(name: str) -> str:
    """One sentence about a codec that is not installed."""
    inner = name.removeprefix(WRAPPED)
    family = next((package for start, package in FAMILIES.items() if re.match(rf"{start}[._]", inner)), None)
    package = family or PACKAGES.get(inner)
    cure = f"pip install '{package}'" if package else "no package with it is known here; ask whoever wrote the store"
    return f"its voxels are packed with the codec {name!r}, which is not installed: {cure}"


def check_codecs(array: zarr.Array[Any]) -> None:
    """Raise `MissingCodecError` for a codec of numcodecs in a zarr 3 array, which zarr misses only when it reads."""
    if isinstance(array.metadata, ArrayV3Metadata):
        for name in _names(array.metadata.to_dict()["codecs"]):
            try:
                if name.startswith(WRAPPED):
                    numcodecs.registry.get_codec({"id": name.removeprefix(WRAPPED)})
            except numcodecs.errors.UnknownCodecError as error:
                raise MissingCodecError(_describe(name)) from error
            except Exception:  # it is there, but wants settings
                continue


def _names(codecs: Any) -> Iterator[str]:
    """Names of codecs, and of those inside shards."""
    for codec in codecs:
        if isinstance(codec, Mapping):
            yield str(codec.get("name"))
            yield from _names((codec.get("configuration") or {}).get("codecs") or ())
