"""Recognises files of other formats, and gives the command that converts each to OME-Zarr.

``examples/to_zarr.py`` converts single volumes; bioformats2raw also keeps channels, time points and the voxel size.
"""

from __future__ import annotations

import shlex
from pathlib import Path

HDF5 = {".h5": "/DATASET", ".hdf5": "/DATASET", ".ims": "'DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data'"}
"""Suffixes of HDF5 files, and the path of the volume inside."""
TIFF = (".tif", ".tiff", ".btf", ".tf8")
MICROSCOPES = {
    **dict.fromkeys((".czi", ".lsm"), "Zeiss"),
    **dict.fromkeys((".lif", ".lof", ".xlef"), "Leica"),
    **dict.fromkeys((".oib", ".oif", ".oir", ".vsi"), "Olympus"),
    **{".nd2": "Nikon", ".dv": "DeltaVision", ".stk": "MetaMorph"},
}
MAGIC = {
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0"), ".tif"),
    **{b"\x89HDF": ".h5", b"PK\3\4": ".zip", b"ZISRAWFI": ".czi"},
}
"""First bytes of files, for names without a known suffix."""

SCRIPT = "python examples/to_zarr.py"


def describe_file(path: Path) -> tuple[str, str]:
    """What a file is, and how to convert it: "a TIFF file", "convert it: ..."."""
    suffix = _suffix(path)
    source, target = shlex.quote(str(path)), shlex.quote(f"{path.name.split('.')[0]}.zarr")
    if suffix in (".zip", ".ozx"):
        return "a zip archive", f"unpack it: unzip {source} -d {target}"
    if suffix in TIFF and not path.name.lower().endswith((".ome.tif", ".ome.tiff")):
        return "a TIFF file", f"convert it: {SCRIPT} {source} {target} Z Y X (micrometres a voxel)"
    if suffix in HDF5:
        kind = "an Imaris file" if suffix == ".ims" else "an HDF5 file"
        return kind, f"convert it: {SCRIPT} {source} {target} Z Y X {HDF5[suffix]} (micrometres a voxel)"
    kind = f"a {MICROSCOPES[suffix]} file" if suffix in MICROSCOPES else "a file"
    return kind, f"convert it: bioformats2raw {source} {target}, and give {target}/0"


def _suffix(path: Path) -> str:
    """Suffix by the name, or by the first bytes."""
    suffix = path.suffix.lower()
    if suffix in (*TIFF, *HDF5, *MICROSCOPES, ".zip", ".ozx"):
        return suffix
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except OSError:
        return suffix
    return next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), suffix)


def describe_folder(path: Path) -> tuple[str, str] | None:
    """What a folder without zarr metadata is, and how to convert it; None where it holds nothing known."""
    source, target = shlex.quote(str(path)), shlex.quote(f"{path.name.split('.')[0]}.zarr")
    if path.suffix.lower() == ".n5" or (path / "attributes.json").exists():
        return "an N5 container", f"convert it: {SCRIPT} {source} {target} Z Y X DATASET (micrometres a voxel)"
    files = sorted(file for file in path.iterdir() if file.is_file())
    planes = [file for file in files if file.suffix.lower() in TIFF]
    if planes:
        return f"a folder of {len(planes)} TIFF file(s)", (
            f"convert it: {SCRIPT} {source} {target} Z Y X (micrometres a voxel) where each file is a plane; "
            "where each is a stack, convert them one by one"
        )
    known = [file for file in files if file.suffix.lower() in (*MICROSCOPES, *HDF5)]
    if known:
        kind, cure = describe_file(known[0])
        return f"a folder of files, {known[0].name} among them, {kind}", cure
    return None
