"""Files of other formats, given to commands that read stores, get the one line that converts them."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.image.other_formats import PLANES, recognise, store_beside
from bigcp3d.errors import InputError
from bigcp3d.face.cli import app

CONVERT = "convert it: bigcp3d convert"
FILES = {
    "a.tif": ("a TIFF file", rf"{CONVERT} .*/a\.tif .*/a\.zarr$"),
    "a b.tiff": ("a TIFF file", rf"{CONVERT} '.*/a b\.tiff' '.*/a b\.zarr'$"),
    "a.ome.tiff": ("a TIFF file", rf"{CONVERT} .*/a\.ome\.tiff .*/a\.zarr$"),
    "a.lsm": ("a Zeiss LSM file", CONVERT),
    "a.czi": ("a Zeiss file", CONVERT),
    "a.lif": ("a Leica file", CONVERT),
    "a.nd2": ("a Nikon file", CONVERT),
    "a.ims": ("an Imaris file", CONVERT),
    "a.h5": ("an HDF5 file", CONVERT),
    "a.oib": ("an Olympus file", r"save it as OME-TIFF, or convert it: bioformats2raw .*/a\.oib .*/a\.zarr"),
    "stack": ("a TIFF file", CONVERT),  # known from its first bytes
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_format_gets_its_line(tmp_path, name):
    kind, cure = FILES[name]
    (tmp_path / name).write_bytes(b"II*\0")
    with pytest.raises(InputError, match=f"{name}: this is {kind}, not an OME-Zarr folder; .*{cure}"):
        open_image(tmp_path / name)


def test_other_files_get_no_advice_on_programs(tmp_path):
    (tmp_path / "README.md").write_text("# Notes")
    with pytest.raises(InputError) as error:
        open_image(tmp_path / "README.md")
    assert "README.md: this is a file, not an OME-Zarr folder; give an OME-Zarr folder, or a file" in str(error.value)
    assert "bioformats" not in str(error.value)


@pytest.mark.parametrize(
    ("files", "kind", "cure"),
    [
        (["z1.tif", "z2.TIF", "notes.txt"], "this is a folder of 2 planes", CONVERT),
        (["z1.png", "z2.png"], "this is a folder of 2 planes", CONVERT),
        (["attributes.json"], "this is an N5 container", CONVERT),
        (["a.czi", "b.czi"], "this is a folder of files, a.czi among them, a Zeiss file", f"{CONVERT} .*a.czi"),
        (["notes.txt", "picture.png"], "not an OME-Zarr group", r"bigcp3d convert IN OUT\.zarr"),
    ],
)
def test_a_folder_of_another_format_gets_its_line(tmp_path, files, kind, cure):
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match=f"{kind}.*{cure}"):
        open_image(tmp_path)


def test_pictures_beside_a_store_are_no_planes(tmp_path):
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_text("")
    assert recognise(tmp_path)[0] == PLANES
    (tmp_path / "a.zarr").mkdir()
    assert recognise(tmp_path)[0] is None


@pytest.mark.parametrize(
    ("name", "store"),
    [
        ("a.tif", "a.zarr"),
        ("a.ome.tif", "a.zarr"),
        ("a.OME.TIFF", "a.zarr"),
        ("day.3.tif", "day.3.zarr"),
        ("stack", "stack.zarr"),
    ],
)
def test_the_store_lies_beside_the_file(tmp_path, name, store):
    (tmp_path / name).write_text("")
    assert store_beside(tmp_path / name) == tmp_path / store


def test_the_store_of_a_folder_keeps_its_whole_name(tmp_path):
    (tmp_path / "day.3").mkdir()
    assert store_beside(tmp_path / "day.3") == tmp_path / "day.3.zarr"


@pytest.mark.parametrize(
    "words", ["segment IN --dry-run", "measure IN", "evaluate IN IN", "train IN --output m.safetensors"]
)
def test_every_command_says_so(tmp_path, words):
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    done = CliRunner().invoke(app, [str(tmp_path / "a.tif") if word == "IN" else word for word in words.split()])
    assert done.exit_code == 2, done.output
    assert "bigcp3d convert" in " ".join(done.stderr.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif"]
    assert Path("m.safetensors").exists() is False
