"""Files of other formats, given to any command, get the one line that converts them."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from bigcp3d.edge.image.image import open_image
from bigcp3d.errors import InputError
from bigcp3d.face.cli import app

SCRIPT = r"python examples/to_zarr\.py"
FILES = {
    "a.tif": ("a TIFF file", rf"{SCRIPT} .*a\.tif a\.zarr Z Y X"),
    "a b.tiff": ("a TIFF file", rf"{SCRIPT} '.*a b\.tiff' 'a b\.zarr' Z Y X"),
    "a.ome.tiff": ("a file", r"bioformats2raw .*a\.ome\.tiff a\.zarr, and give a\.zarr/0"),
    "a.czi": ("a Zeiss file", r"bioformats2raw .*a\.czi a\.zarr, and give a\.zarr/0"),
    "a.lif": ("a Leica file", "bioformats2raw"),
    "a.nd2": ("a Nikon file", "bioformats2raw"),
    "a.ims": ("an Imaris file", rf"{SCRIPT} .* 'DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data'"),
    "a.h5": ("an HDF5 file", rf"{SCRIPT} .* /DATASET"),
    "a.zarr.zip": ("a zip archive", "unzip"),
    "stack": ("a TIFF file", SCRIPT),  # known from its first bytes
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_format_gets_its_line(tmp_path, name):
    kind, cure = FILES[name]
    (tmp_path / name).write_bytes(b"II*\0")
    with pytest.raises(InputError, match=f"{name}: this is {kind}, not an OME-Zarr folder; .*{cure}"):
        open_image(tmp_path / name)


@pytest.mark.parametrize(
    ("files", "kind", "cure"),
    [
        (
            ["z1.tif", "z2.TIF", "notes.txt"],
            r"this is a folder of 2 TIFF file\(s\)",
            f"{SCRIPT} .* where each file is a plane",
        ),
        (["attributes.json"], "this is an N5 container", f"{SCRIPT} .* DATASET"),
        (["a.czi", "b.czi"], "this is a folder of files, a.czi among them, a Zeiss file", "bioformats2raw .*a.czi"),
        (["notes.txt"], "not an OME-Zarr group", "bioformats2raw IN OUT.zarr"),
    ],
)
def test_a_folder_of_another_format_gets_its_line(tmp_path, files, kind, cure):
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match=f"{kind}.*{cure}"):
        open_image(tmp_path)


@pytest.mark.parametrize(
    "words", ["info IN", "segment IN --serial", "measure IN", "evaluate IN IN", "train IN --output m.safetensors"]
)
def test_every_command_says_so(tmp_path, words):
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    done = CliRunner().invoke(app, [str(tmp_path / "a.tif") if word == "IN" else word for word in words.split()])
    assert done.exit_code == 2, done.output
    assert "python examples/to_zarr.py" in " ".join(done.stderr.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif"]
