"""Reads TIFF, ImageJ hyperstacks, OME-TIFF and Zeiss LSM with tifffile, strip by strip or tile by tile."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from bigcp3d.edge.convert.source import LETTERS, UNKNOWN, Part, Source, choose_part, stated_lengths
from bigcp3d.edge.image.transforms import unit_um
from bigcp3d.errors import InputError

KINDS = {"imagej": "an ImageJ hyperstack", "ome": "an OME-TIFF", "lsm": "a Zeiss LSM file"}

LOST_PAGES = re.compile("page offset|corrupted|reshape")
"""What tifffile logs where it gives fewer pages than the file should have."""

OBJECT = re.compile(r"^<[^>]*> ")
"""The Python object at the start of tifffile's messages."""


def open_tiff(path: Path, series: str | int | None) -> Source:
    """One series of a TIFF file; `InputError` where the file is damaged, or needs a codec that is not installed."""
    with _heard() as said:
        try:
            tiff = tifffile.TiffFile(path)
            everything = list(enumerate(tiff.series))
        except Exception as error:  # tifffile raises many kinds for damaged files
            raise InputError(f"{path}: this TIFF file cannot be read: {error}; write it again") from error
    try:
        lost = next((OBJECT.sub("", text) for text in said if LOST_PAGES.search(text)), None)
        if lost is not None:  # the stack would only be thinner
            raise InputError(f"{path}: this TIFF file is damaged or cut off ({lost}); copy or write it again")
        found = [each for each in everything if not each[1].keyframe.is_reduced] or everything  # LSM has thumbnails
        names = [each.name or str(i) for i, (_, each) in enumerate(found)]
        shown = [f"{i} ({name}, {found[i][1].axes} {found[i][1].shape})" for i, name in enumerate(names)]
        number, chosen = found[choose_part(path, "--series", names, series, shown)]
        return _describe(path, tiff, chosen, number)
    except BaseException:
        tiff.close()
        raise


@contextmanager
def _heard() -> Iterator[list[str]]:
    """The errors that tifffile logs."""
    said: list[str] = []
    logger, handler = logging.getLogger("tifffile"), logging.Handler(logging.ERROR)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


def _describe(path: Path, tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, number: int) -> Source:
    page = series.keyframe
    _check_codec(path, page)
    axes = "".join(a if a in LETTERS else UNKNOWN for a in series.axes.lower())
    sizes = dict(zip(axes, series.shape, strict=True))
    notes = []
    if any(each is None for each in series.pages):
        notes.append("some planes are missing in the file; they are 0")
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and page.dtype != bool:
        notes.append("the file says that 0 is white; the numbers are taken as they are")
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        notes.append("the file has a palette of colours; its numbers are taken, not the colours")
    scale: Mapping[str, float | None] = {}
    channels: tuple[str, ...] = ()
    if series.kind == "ome" and tiff.ome_metadata:
        scale, channels = _read_ome(tiff.ome_metadata, tiff.series, number)
    elif series.kind == "lsm" and tiff.lsm_metadata:
        scale = {a: tiff.lsm_metadata.get(f"VoxelSize{a.upper()}", 0) * 1e6 for a in "zyx"}
        channels = tuple(map(str, tiff.lsm_metadata.get("ChannelColors", {}).get("ColorNames") or ()))
    else:
        shaped = tiff.shaped_metadata or ()
        metadata = tiff.imagej_metadata or (shaped[number] if number < len(shaped) else {})
        scale = _read_resolution(metadata, page)
        channels = _names_in_labels(metadata.get("Labels"), sizes.get("c", 1), axes)
    try:
        read, rows = _reader(series)
    except ValueError as error:
        raise InputError(f"{path}: this TIFF file is cut off ({error}); copy or write it again") from error
    return Source(
        path=path,
        kind=KINDS.get(series.kind, "a TIFF file"),
        axes=axes,
        shape=series.shape,
        dtype=np.dtype(series.dtype),
        read=read,
        rows=rows,
        scale_um=stated_lengths(scale),
        channel_names=channels,
        notes=tuple(notes),
        in_several_files=series.is_multifile,
        close=tiff.close,
    )


def _check_codec(path: Path, page: Any) -> None:
    """Refuse a compression that tifffile cannot decode here."""
    try:
        if page.compression != 1:
            tifffile.TIFF.DECOMPRESSORS[page.compression]
        if page.predictor != 1 and page.compression not in tifffile.TIFF.IMAGE_COMPRESSIONS:
            tifffile.TIFF.UNPREDICTORS[page.predictor]
    except KeyError as error:
        raise InputError(
            f"{path}: its compression is {page.compression.name}, for which a package is missing; install it: "
            "pip install 'bigcp3d[codecs]', or save the file without compression"
        ) from error


def _reader(series: tifffile.TiffPageSeries) -> tuple[Any, int]:
    """A function that reads parts, and how many rows it decodes together."""
    if series.dataoffset is not None:  # one piece of the file: parts cost nothing
        dtype = np.dtype(series.dtype).newbyteorder(series.keyframe.parent.byteorder)
        file = series.keyframe.parent.filehandle.path  # an OME-TIFF may have its planes in other files
        mapped = np.memmap(file, dtype, "r", series.dataoffset, series.shape)
        return lambda part: np.array(mapped[part]), 1
    array: Any = zarr.open_array(series.aszarr(level=0), mode="r")

    def read(part: Part) -> NDArray[Any]:
        return np.asarray(array[part])

    return read, array.chunks[series.axes.index("Y")]


def _read_resolution(metadata: Mapping[str, Any], page: Any) -> dict[str, float | None]:
    """Voxel size as ImageJ writes it: units and ``spacing`` in the description, pixels a unit in the tags.

    ``unit`` is that of all axes, unless ``yunit`` or ``zunit`` says another.
    """
    common = metadata.get("unit") or metadata.get("Unit") or ""
    units = {axis: unit_um(str(metadata.get(f"{axis}unit") or common)) for axis in "zyx"}
    spacing = metadata.get("spacing")
    sizes = {"z": abs(spacing) if isinstance(spacing, int | float) else None}
    for axis, tag in (("y", page.tags.get("YResolution")), ("x", page.tags.get("XResolution"))):
        pixels, length = tag.value if tag is not None else (0, 1)
        sizes[axis] = length / pixels if pixels else None
    return {axis: size * um for axis, size in sizes.items() if size is not None and (um := units[axis]) is not None}


def _names_in_labels(labels: Any, channels: int, axes: str) -> tuple[str, ...]:
    """Names of channels where ImageJ's labels of planes repeat one text for each channel."""
    if channels < 2 or not isinstance(labels, list) or len(labels) % channels or axes.find("c") < axes.find("z"):
        return ()
    names = [set(labels[c::channels]) for c in range(channels)]
    if any(len(texts) != 1 for texts in names) or len(set.union(*names)) != channels:
        return ()
    return tuple(str(texts.pop()) for texts in names)


def _read_ome(
    text: str, series: Sequence[tifffile.TiffPageSeries], number: int
) -> tuple[Mapping[str, float | None], tuple[str, ...]]:
    """Voxel size and channel names of a series in OME-XML; nothing where it is not clear which image it is.

    tifffile leaves out images without planes here, as in one file of a set. Then the name and the sizes tell the image.
    Several may have the same, so they must also state the same.
    """
    try:
        images = ElementTree.fromstring(text).findall("{*}Image")
    except ElementTree.ParseError:
        return {}, ()
    if len(images) == len(series):
        images = [images[number]]
    else:
        images = [image for image in images if _is_of(image, series[number])]
    stated = [_read_pixels(image.find("{*}Pixels")) for image in images]
    return stated[0] if stated and all(each == stated[0] for each in stated) else ({}, ())


def _is_of(image: ElementTree.Element, series: tifffile.TiffPageSeries) -> bool:
    """Whether an image in OME-XML has the name and the sizes of a series."""
    pixels = image.find("{*}Pixels")
    sizes = dict(zip(series.get_axes(False), series.get_shape(False), strict=True))
    sizes["C"] = sizes.get("C", 1) * sizes.pop("S", 1)  # OME counts the samples of colours as channels
    return (
        pixels is not None
        and (image.get("Name") or "") == series.name
        and all(pixels.get(f"Size{axis}") == str(size) for axis, size in sizes.items())
    )


def _read_pixels(pixels: ElementTree.Element | None) -> tuple[Mapping[str, float | None], tuple[str, ...]]:
    """Voxel size and channel names of an image in OME-XML."""
    if pixels is None:
        return {}, ()
    scale: dict[str, float | None] = {}
    for axis in "zyx":
        size, unit = (pixels.get(f"PhysicalSize{axis.upper()}{more}") for more in ("", "Unit"))
        length = unit_um(unit or "µm")
        number_text = size is not None and re.fullmatch(r"[\d.eE+-]+", size)
        scale[axis] = float(size) * length if size and number_text and length is not None else None
    names = [c.get("Name") or c.get("Fluor") for c in pixels.findall("{*}Channel")]
    return scale, tuple(map(str, names)) if all(names) else ()
