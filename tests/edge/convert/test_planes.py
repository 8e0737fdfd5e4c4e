"""Folders of planes: the order of numbers, several numbers in a name, and planes that do not belong together."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from bigcp3d.edge.convert.open_source import open_source
from bigcp3d.edge.convert.volume import name_volume
from bigcp3d.edge.image.image import open_image
from bigcp3d.errors import InputError, TargetError
from bigcp3d.pure.boxes import Box
from bigcp3d.work.convert.convert import convert
from tests.edge.convert.test_tiff import read_all

STACK = np.random.default_rng(0).integers(0, 60000, (12, 8, 10)).astype("uint16")


def write_planes(folder, names, planes=STACK):
    folder.mkdir(exist_ok=True)
    for name, plane in zip(names, planes, strict=True):
        if name.endswith("png"):
            Image.fromarray(plane).save(folder / name)
        else:
            tifffile.imwrite(folder / name, plane, photometric="minisblack")


@pytest.mark.parametrize("name", ["z{}.tif", "embryo 3 slice_{:03}.TIFF", "{}.png"])
def test_planes_follow_their_numbers(tmp_path, name):
    write_planes(tmp_path / "planes", [name.format(z) for z in range(12)])
    (tmp_path / "planes" / "notes.txt").write_text("not a plane")
    with open_source(tmp_path / "planes") as source:
        assert source.kind == "a folder of 12 planes"
        volume = name_volume(source, scale_um=(2, 1, 1))
        np.testing.assert_array_equal(read_all(volume)[0, 0], STACK)
        box = Box((9, 2, 3), (11, 7, 9))
        np.testing.assert_array_equal(volume.read(0, 0, box), STACK[box.slices()])
        with pytest.raises(InputError, match="does not say the voxel size along z, y, x"):
            name_volume(source)


@pytest.mark.parametrize(("held", "told"), [(STACK[0], "a single plane"), (STACK, "along z")])
def test_a_single_file_is_read_as_if_it_were_given_itself(tmp_path, held, told):
    write_planes(tmp_path / "planes", ["embryo7_t2.tif"], [held])
    with open_source(tmp_path / "planes") as source, open_source(tmp_path / "planes" / "embryo7_t2.tif") as alone:
        assert (source.axes, source.shape) == (alone.axes, alone.shape)
        volume = name_volume(source, scale_um=(1, 1, 1))
        assert any(told in note for note in volume.notes)
        np.testing.assert_array_equal(read_all(volume)[0, 0], np.atleast_3d(held.T).T)


def test_the_distance_of_planes_is_asked_for(tmp_path):
    (tmp_path / "planes").mkdir()
    for z in range(3):
        said = {"unit": "um", "axes": "YX"}
        tifffile.imwrite(tmp_path / "planes" / f"{z}.tif", STACK[z], imagej=True, resolution=(2, 2), metadata=said)
    with (
        open_source(tmp_path / "planes") as source,
        pytest.raises(InputError, match=r"along z; .*the file says y 0.5, x 0.5"),
    ):
        name_volume(source)


@pytest.mark.parametrize("name", ["t{t}_c{c}_z{z:03}.tif", "embryo7_time{t}-ch{c}-slice{z}.tif"])
def test_words_before_numbers_say_what_they_count(tmp_path, name):
    values = STACK.reshape(2, 2, 3, 8, 10)
    names = [name.format(t=t, c=c, z=z) for t in range(2) for c in range(2) for z in range(8, 11)]
    write_planes(tmp_path / "planes", names)
    with open_source(tmp_path / "planes") as source:
        volume = name_volume(source, scale_um=(2, 1, 1))
        assert (volume.axes, volume.times, volume.channels) == ("tczyx", 2, 2)
        np.testing.assert_array_equal(read_all(volume), values)


def test_numbers_without_known_words_are_asked_about(tmp_path):
    names = [f"a{z}b{c}.tif" for z in range(6) for c in range(2)]
    write_planes(tmp_path / "planes", names)
    with open_source(tmp_path / "planes") as source:
        with pytest.raises(InputError, match=r"4 axes \(6 x 2 x 8 x 10\).*give --axes"):
            name_volume(source, scale_um=(1, 1, 1))
        volume = name_volume(source, scale_um=(1, 1, 1), axes="zcyx")
        np.testing.assert_array_equal(read_all(volume)[0].transpose(1, 0, 2, 3).reshape(STACK.shape), STACK)


@pytest.mark.parametrize(("name", "axes"), [("t{:03}.tif", "tyx"), ("cell_c{}.tif", "cyx"), ("a_time-{}.png", "tyx")])
def test_a_single_number_of_times_or_channels_is_no_stack(tmp_path, name, axes):
    write_planes(tmp_path / "planes", [name.format(i) for i in range(12)])
    with open_source(tmp_path / "planes") as source:
        with pytest.raises(InputError, match=r"without z.*If one of them is z, give --axes zyx"):
            name_volume(source, scale_um=(1, 1, 1))
        np.testing.assert_array_equal(read_all(name_volume(source, scale_um=(1, 1, 1), axes="zyx"))[0, 0], STACK)
        assert name_volume(source, scale_um=(1, 1, 1), axes=axes).shape == (1, 8, 10)


@pytest.mark.parametrize(("name", "told"), [("z{}.tif", False), ("{}.tif", True), ("embryo{}.tif", True)])
def test_a_single_number_without_a_known_word_is_taken_for_z_with_a_note(tmp_path, name, told):
    write_planes(tmp_path / "planes", [name.format(z) for z in range(12)])
    with open_source(tmp_path / "planes") as source:
        notes = name_volume(source, scale_um=(1, 1, 1)).notes
        assert any("does not say that its planes lie along z" in note for note in notes) == told


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [((0, 1, 2, 4, 5), "0 to 5 without 3;"), ((0, 10, 40, 50), "without 20, 30;"), ((1, 2, 10**15), "12 and others;")],
)
@pytest.mark.parametrize("name", ["z{}.tif", "{:03}.tif", "t{}.tif"])
def test_a_lost_plane_is_named(tmp_path, numbers, missing, name):
    write_planes(tmp_path / "planes", [name.format(z) for z in numbers], STACK[: len(numbers)])
    with pytest.raises(InputError, match=missing):
        open_source(tmp_path / "planes").__enter__()


def test_numbers_may_rise_in_larger_steps_and_channels_in_any(tmp_path):
    names = [f"ch{c}_z{z}.tif" for c in (405, 488, 561) for z in (0, 10, 20, 30)]
    write_planes(tmp_path / "planes", names)
    with open_source(tmp_path / "planes") as source:
        volume = name_volume(source, scale_um=(1, 1, 1))
        np.testing.assert_array_equal(read_all(volume)[0], STACK.reshape(3, 4, 8, 10))


def write_png(path, plane, colour_type):
    """A PNG file of 16 bits a sample, which Pillow cannot write; the type is 2 for colours, 4 for grey with alpha."""
    height, width = plane.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in plane)
    chunks = {b"IHDR": struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0), b"IDAT": zlib.compress(rows)}
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, content in {**chunks, b"IEND": b""}.items():
            file.write(struct.pack(">I", len(content)) + name + content)
            file.write(struct.pack(">I", zlib.crc32(name + content)))


@pytest.mark.parametrize(("samples", "colour_type"), [(3, 2), (2, 4)])
def test_colours_of_16_bits_in_png_are_refused(tmp_path, samples, colour_type):
    (tmp_path / "planes").mkdir()
    for z in range(2):
        write_png(tmp_path / "planes" / f"z{z}.png", np.repeat(STACK[z, :, :, None], samples, 2), colour_type)
    with pytest.raises(InputError, match=r"z0.png: this PNG file has colours of 16 bits.*save it as TIFF"):
        open_source(tmp_path / "planes").__enter__()


def test_colours_of_8_bits_in_png_are_read(tmp_path):
    colours = np.random.default_rng(1).integers(0, 255, (4, 8, 10, 3)).astype("uint8")
    write_planes(tmp_path / "planes", [f"z{z}.png" for z in range(4)], colours)
    with open_source(tmp_path / "planes") as source:
        found = read_all(name_volume(source, scale_um=(1, 1, 1)))[0]
        np.testing.assert_array_equal(found, np.moveaxis(colours, 3, 0))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([f"{what}{z}.tif" for z in range(6) for what in "ab"], "differ in more than numbers"),
        ([*[f"z{z}c{c}.tif" for z in range(7) for c in range(2)][:-2], "z9c0.tif"], "14 planes are expected"),
    ],
)
def test_names_that_make_no_grid_are_refused(tmp_path, names, message):
    write_planes(tmp_path / "planes", names, [STACK[0]] * len(names))
    with pytest.raises(InputError, match=message):
        open_source(tmp_path / "planes").__enter__()


@pytest.mark.parametrize("odd", [STACK[0, :7], STACK[0].astype("uint8")])
def test_planes_of_another_size_or_type_are_refused(tmp_path, odd):
    write_planes(tmp_path / "planes", ["0.tif", "1.tif", "2.tif"], [STACK[0], STACK[1], odd])
    with pytest.raises(InputError, match=r"2.tif: this plane is .* but 0.tif is uint16 of \(8, 10\)"):
        open_source(tmp_path / "planes").__enter__()


def test_stacks_are_the_time_points_or_channels_that_their_names_count(tmp_path):
    values = STACK.reshape(2, 2, 3, 8, 10)
    for t, c in np.ndindex(2, 2):
        name = tmp_path / f"t{t}_ch{c}.tif"
        said = {"unit": "um", "spacing": 1.5, "axes": "ZYX"}
        tifffile.imwrite(name, values[t, c], imagej=True, resolution=(2, 2), metadata=said)
    with open_source(tmp_path) as source:
        assert (source.kind, source.axes) == ("a folder of 4 stacks", "tczyx")
        volume = name_volume(source)
        assert volume.scale_um == (1.5, 0.5, 0.5)
        np.testing.assert_array_equal(read_all(volume), values)
        box = Box((1, 2, 3), (3, 7, 9))
        np.testing.assert_array_equal(volume.read(1, 0, box), values[1, 0][box.slices()])


def test_a_number_in_names_of_stacks_that_could_be_anything_is_asked_for(tmp_path):
    write_planes(tmp_path, ["fish1.tif", "fish2.tif"], STACK.reshape(2, 6, 8, 10))
    with open_source(tmp_path) as source:
        with pytest.raises(InputError, match=r"give --axes .*; or convert each file of the folder by itself"):
            name_volume(source, scale_um=(1, 1, 1))
        volume = name_volume(source, axes="tzyx", scale_um=(1, 1, 1))
        np.testing.assert_array_equal(read_all(volume)[:, 0], STACK.reshape(2, 6, 8, 10))


def test_stacks_that_are_pieces_along_z_are_refused(tmp_path):
    for z in range(2):
        tifffile.imwrite(tmp_path / f"z{z}.tif", STACK[:3], photometric="minisblack", metadata={"axes": "ZYX"})
    with pytest.raises(InputError, match="the names of the files count z, but each file has this axis too"):
        open_source(tmp_path).__enter__()


def test_no_store_is_written_into_the_folder(tmp_path):
    write_planes(tmp_path / "planes", [f"{z}.tif" for z in range(12)])
    with pytest.raises(TargetError, match="cannot lie in its own source"):
        convert(tmp_path / "planes", tmp_path / "planes" / "out.zarr", scale_um=(2, 1, 1))
    assert len(list((tmp_path / "planes").iterdir())) == 12


def test_a_store_is_not_converted(tmp_path):
    write_planes(tmp_path / "my planes", [f"{z}.tif" for z in range(12)])
    image = convert(tmp_path / "my planes", scale_um=(2, 1, 1))
    with pytest.raises(InputError, match=r"this is a zarr store already; bigcp3d info '.*/my planes\.zarr' describes"):
        open_source(image.path).__enter__()
    with pytest.raises(InputError, match=r"give '.*/my planes\.zarr', which lies beside it, or convert it"):
        open_image(tmp_path / "my planes")
