"""Recognises files and folders of other formats, and says how each becomes OME-Zarr.

`bigcp3d.edge.convert` reads the kinds that have a name here; for all others there is advice only.
"""

from __future__ import annotations

from pathlib import Path

from bigcp3d.edge.stores.platforms import join_words

TIFF, PLANES, HDF5, IMARIS, N5, MICROSCOPE = "tiff", "planes", "hdf5", "imaris", "n5", "microscope"
"""Kinds that ``bigcp3d convert`` reads."""

SUFFIXES = {
    **dict.fromkeys((".tif", ".tiff", ".btf", ".tf8"), (TIFF, "a TIFF file")),
    **{".lsm": (TIFF, "a Zeiss LSM file"), ".stk": (TIFF, "a MetaMorph file")},
    **dict.fromkeys((".h5", ".hdf5"), (HDF5, "an HDF5 file")),
    ".ims": (IMARIS, "an Imaris file"),
    **{".czi": (MICROSCOPE, "a Zeiss file"), ".lif": (MICROSCOPE, "a Leica file")},
    **{".nd2": (MICROSCOPE, "a Nikon file"), ".dv": (MICROSCOPE, "a DeltaVision file")},
}
UNREAD = {
    **dict.fromkeys((".lof", ".xlef"), "a Leica file"),
    **dict.fromkeys((".oib", ".oif", ".oir", ".vsi"), "an Olympus file"),
}
"""Files of microscopes that ``bigcp3d convert`` does not read."""
MAGIC = {
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), ".tif"),
    **{b"\x89HDF": ".h5", b"PK\3\4": ".zip", b"ZISRAWFI": ".czi"},
}
"""First bytes of files, for names without a known suffix."""
PLANE_SUFFIXES = (".tif", ".tiff", ".png")

READABLE = "TIFF, OME-TIFF, ImageJ, LSM, folders of planes, HDF5, IMS, N5, CZI, LIF, ND2"


def recognise(path: Path) -> tuple[str | None, str, str]:
    """The kind of a file or folder (None: not read), what it is in words, and what to do with it.

    The words and the advice are empty for a folder in which nothing is known.
    """
    return _recognise_folder(path) if path.is_dir() else _recognise_file(path)


def planes_in(folder: Path) -> list[Path]:
    """The files of a folder that may be planes of one stack, in the order of their names."""
    files = (file for file in sorted(folder.iterdir()) if not file.name.startswith("."))
    return [file for file in files if file.suffix.lower() in PLANE_SUFFIXES and file.is_file()]


def store_beside(path: Path) -> Path:
    """Where ``bigcp3d segment`` puts the converted image of a file or folder: beside it, with the suffix ``.zarr``."""
    name = path.name
    for suffix in (".ome.tif", ".ome.tiff", ".ome.btf", ".ome.tf8", path.suffix if path.is_file() else ""):
        if suffix and name.lower().endswith(suffix.lower()) and name.lower() != suffix.lower():
            name = name[: -len(suffix)]
            break
    return path.with_name(f"{name}.zarr")


def _convert(path: Path) -> str:
    source, target = join_words([str(path)]), join_words([str(store_beside(path))])
    if store_beside(path).exists():
        return f"give {target}, which lies beside it, or convert it: bigcp3d convert {source} OUT.zarr"
    return f"convert it: bigcp3d convert {source} {target}"


def _recognise_file(path: Path) -> tuple[str | None, str, str]:
    suffix = _suffix(path)
    if suffix in SUFFIXES:
        kind, words = SUFFIXES[suffix]
        return kind, words, _convert(path)
    source, target = join_words([str(path)]), join_words([str(store_beside(path))])
    if suffix in (".zip", ".ozx"):
        return None, "a zip archive", f"unpack it: unzip {source} -d {target}"
    if suffix in UNREAD:
        advice = f"save it as OME-TIFF, or convert it: bioformats2raw {source} {target}, and give {target}/0"
        return None, UNREAD[suffix], advice
    return None, "a file", f"give an OME-Zarr folder, or a file that can be converted: {READABLE}"


def _suffix(path: Path) -> str:
    """Suffix by the name, or by the first bytes."""
    suffix = path.suffix.lower()
    if suffix in (*SUFFIXES, *UNREAD, ".zip", ".ozx"):
        return suffix
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except OSError:
        return suffix
    return next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), suffix)


def _recognise_folder(path: Path) -> tuple[str | None, str, str]:
    if path.suffix.lower() == ".n5" or (path / "attributes.json").exists():
        return N5, "an N5 container", _convert(path)
    inside = sorted(path.iterdir())
    if any(child.suffix == ".zarr" for child in inside):
        return None, "", ""
    planes = planes_in(path)
    if len(planes) > 1 or any(file.suffix.lower() != ".png" for file in planes):
        return PLANES, f"a folder of {len(planes)} planes", _convert(path)
    known = [file for file in inside if file.suffix.lower() in (*SUFFIXES, *UNREAD) and file.is_file()]
    if known:
        _, words, advice = _recognise_file(known[0])
        return None, f"a folder of files, {known[0].name} among them, {words}", advice
    return None, "", ""
