"""TIFF files of each kind, made by tifffile: axes, voxel size, names and voxels are those that were written."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from bigcp3d.edge.convert.open_source import open_source
from bigcp3d.edge.convert.volume import name_volume
from bigcp3d.errors import InputError
from bigcp3d.pure.boxes import Box

SIZES = {"T": 3, "Z": 4, "C": 2, "Y": 8, "X": 10}


def stack_of(axes, dtype="uint16"):
    """An array with these axes; each voxel says its place in T, C, Z, Y, X."""
    order = "TCZYX"
    values = np.arange(np.prod(list(SIZES.values()))).reshape([SIZES[a] for a in order])
    values = values[tuple(slice(None) if a in axes else 0 for a in order)]
    there = [a for a in order if a in axes]
    return values.transpose([there.index(a) for a in axes]).astype(dtype)


def read_all(volume):
    """All voxels as (t, c, z, y, x)."""
    box = Box.of_shape(volume.shape)
    return np.stack([np.stack([volume.read(t, c, box) for c in range(volume.channels)]) for t in range(volume.times)])


def expected(axes):
    """The same of `stack_of`."""
    return stack_of("TCZYX")[tuple(slice(None) if a in axes else slice(1) for a in "TCZYX")]


@pytest.mark.parametrize("axes", ["TZCYX", "ZCYX", "TZYX", "ZYX"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_imagej_hyperstacks(tmp_path, axes, byteorder):
    said = {"axes": axes, "spacing": 1.5, "unit": "um"}
    stack = stack_of(axes)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, resolution=(4, 2), metadata=said, byteorder=byteorder)
    with open_source(tmp_path / "a.tif") as source:
        volume = name_volume(source)
        assert source.kind == "an ImageJ hyperstack"
        assert (volume.shape, volume.scale_um) == ((4, 8, 10), (1.5, 0.5, 0.25))
        assert volume.dtype == "uint16"
        np.testing.assert_array_equal(read_all(volume), expected(axes))


@pytest.mark.parametrize(
    ("unit", "um"), [("micron", 1.0), ("um", 1.0), ("\\u00B5m", 1.0), ("nm", 1e-3), ("mm", 1e3), ("inch", 25400.0)]
)
def test_units_of_imagej_become_micrometres(tmp_path, unit, um):
    said = {"axes": "ZYX", "spacing": 2.0, "unit": unit}
    tifffile.imwrite(tmp_path / "a.tif", stack_of("ZYX"), imagej=True, resolution=(2, 2), metadata=said)
    with open_source(tmp_path / "a.tif") as source:
        assert name_volume(source).scale_um == pytest.approx((2 * um, 0.5 * um, 0.5 * um))


@pytest.mark.parametrize(
    ("units", "sizes"),
    [
        ({"unit": "mm", "zunit": "um"}, {"z": 2.0, "y": 500.0, "x": 500.0}),
        ({"unit": "um", "yunit": "nm"}, {"z": 2.0, "y": 5e-4, "x": 0.5}),
        ({"unit": "um", "zunit": "sec"}, {"y": 0.5, "x": 0.5}),
        ({"unit": "pixel", "zunit": "um"}, {"z": 2.0}),
    ],
)
def test_axes_of_imagej_may_have_their_own_units(tmp_path, units, sizes):
    said = {"axes": "ZYX", "spacing": 2.0, **units}
    tifffile.imwrite(tmp_path / "a.tif", stack_of("ZYX"), imagej=True, resolution=(2, 2), metadata=said)
    with open_source(tmp_path / "a.tif") as source:
        assert source.scale_um == pytest.approx(sizes)


@pytest.mark.parametrize("unit", ["pixel", None])
def test_a_size_in_pixels_is_no_voxel_size(tmp_path, unit):
    said = {"axes": "ZYX", "spacing": 1.0, **({"unit": unit} if unit else {})}
    tifffile.imwrite(tmp_path / "a.tif", stack_of("ZYX"), imagej=True, metadata=said)
    with open_source(tmp_path / "a.tif") as source:
        with pytest.raises(InputError, match="does not say the voxel size along z, y, x; give --scale Z Y X"):
            name_volume(source)
        assert name_volume(source, scale_um=(2, 1, 1)).scale_um == (2, 1, 1)
        for wrong in ((0, 1, 1), (float("nan"), 1, 1), (1, 1)):
            with pytest.raises(InputError, match="three numbers above 0"):
                name_volume(source, scale_um=wrong)


def test_a_missing_spacing_is_asked_for(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", stack_of("ZYX"), imagej=True, resolution=(2, 2), metadata={"axes": "ZYX", "unit": "um"}
    )
    with (
        open_source(tmp_path / "a.tif") as source,
        pytest.raises(InputError, match=r"along z; give --scale .* \(the file says y 0.5, x 0.5\)"),
    ):
        name_volume(source)


def test_labels_of_planes_name_the_channels(tmp_path):
    said = {"axes": "ZCYX", "spacing": 1.0, "unit": "um", "Labels": ["DAPI", "GFP"] * SIZES["Z"]}
    tifffile.imwrite(tmp_path / "a.tif", stack_of("ZCYX"), imagej=True, resolution=(2, 2), metadata=said)
    with open_source(tmp_path / "a.tif") as source:
        assert name_volume(source).channel_names == ("DAPI", "GFP")
        assert name_volume(source, channels="a, b").channel_names == ("a", "b")
        for wrong in ("a", "a,a", "a,b,c", "a,"):
            with pytest.raises(InputError, match="2 different names"):
                name_volume(source, channels=wrong)


@pytest.mark.parametrize("axes", ["TCZYX", "TZCYX", "CZYX", "ZCYX", "ZYX"])
def test_ome_tiff(tmp_path, axes):
    said = {"axes": axes, **{f"PhysicalSize{a}": s for a, s in zip("ZYX", (1.5, 500, 0.25), strict=True)}}
    said |= {"PhysicalSizeYUnit": "nm", "PhysicalSizeXUnit": "µm"}
    if "C" in axes:
        said["Channel"] = {"Name": ["DAPI", "GFP"]}
    tifffile.imwrite(tmp_path / "a.ome.tif", stack_of(axes), metadata=said, photometric="minisblack")
    with open_source(tmp_path / "a.ome.tif") as source:
        volume = name_volume(source)
        assert source.kind == "an OME-TIFF"
        assert volume.scale_um == (1.5, 0.5, 0.25)
        assert volume.channel_names == (("DAPI", "GFP") if "C" in axes else ())
        np.testing.assert_array_equal(read_all(volume), expected(axes))


def test_one_of_several_series_is_chosen(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for name, size in (("first", 1.0), ("second", 2.0)):
            said = {"axes": "ZYX", "Name": name, **{f"PhysicalSize{a}": size for a in "ZYX"}}
            file.write(stack_of("ZYX") + int(size), metadata=said, photometric="minisblack")
    with pytest.raises(InputError, match=r"holds 2 volumes; give one with --series: 0 \(first, .*1 \(second"):
        open_source(tmp_path / "a.ome.tif").__enter__()
    with pytest.raises(InputError, match="no volume 'third'"):
        open_source(tmp_path / "a.ome.tif", series="third").__enter__()
    for series in ("second", 1, "1"):
        with open_source(tmp_path / "a.ome.tif", series=series) as source:
            volume = name_volume(source)
            assert volume.scale_um == (2.0, 2.0, 2.0)
            np.testing.assert_array_equal(read_all(volume)[0, 0], stack_of("ZYX") + 2)


def write_positions(folder, positions):
    """A set of OME-TIFF files, one for each position, whose OME-XML describes all: name, shape, voxel size, channel."""
    folder.mkdir()
    files = "".join(
        f'<Image ID="Image:{i}" Name="{name}"><Pixels ID="Pixels:{i}" DimensionOrder="XYZCT" Type="uint16" SizeX="{x}" '
        f'SizeY="{y}" SizeZ="{z}" SizeC="1" SizeT="1" PhysicalSizeX="{size}" PhysicalSizeY="{size}" '
        f'PhysicalSizeZ="{size}"><Channel ID="Channel:{i}:0" Name="{channel}" SamplesPerPixel="1"/><TiffData IFD="0" '
        f'PlaneCount="{z}"><UUID FileName="{i}.ome.tif">urn:uuid:{i}</UUID></TiffData></Pixels></Image>'
        for i, (name, (z, y, x), size, channel) in enumerate(positions)
    )
    for i, (_, shape, _, _) in enumerate(positions):
        space = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
        text = f'<?xml version="1.0"?><OME {space} UUID="urn:uuid:{i}">{files}</OME>'
        stack = np.full(shape, i, "uint16")
        tifffile.imwrite(folder / f"{i}.ome.tif", stack, description=text, metadata=None, photometric="minisblack")


SMALL, LARGE = (3, 8, 10), (4, 8, 10)


@pytest.mark.parametrize(
    ("positions", "sizes", "names"),
    [
        ([("a", SMALL, 1.0, "DAPI"), ("b", SMALL, 2.0, "GFP")], {2.0}, ("GFP",)),
        ([("a", SMALL, 1.0, "DAPI"), ("a", LARGE, 2.0, "GFP")], {2.0}, ("GFP",)),
        ([("a", SMALL, 1.0, "DAPI"), ("a", SMALL, 2.0, "GFP")], set(), ()),
        ([("a", SMALL, 2.0, "GFP"), ("a", SMALL, 2.0, "GFP")], {2.0}, ("GFP",)),
    ],
)
def test_one_file_of_a_set_has_its_own_voxel_size_or_none(tmp_path, positions, sizes, names):
    write_positions(tmp_path / "set", positions)
    for series in (0, 1):
        with open_source(tmp_path / "set" / "1.ome.tif", series=series) as source:
            _, shape, size, channel = positions[series]
            assert (source.shape, set(source.scale_um.values())) == (shape, {size})
            assert source.channel_names == (channel,)
    alone = (tmp_path / "set" / "1.ome.tif").rename(tmp_path / "1.ome.tif")
    with open_source(alone) as source:
        assert source.kind == "an OME-TIFF"
        assert (source.shape, set(source.scale_um.values())) == (positions[1][1], sizes)
        assert source.channel_names == names
        assert (source.read((slice(0, 1),) * 3) == 1).all()


def test_an_lsm_file_with_thumbnails_is_one_volume(tmp_path):
    stack = stack_of("ZYX")
    about = np.zeros(1, tifffile.TIFF.CZ_LSMINFO)
    said = {"MagicNumber": 67127628, "StructureSize": about.nbytes, "DataType": 1, "DimensionChannels": 1}
    said |= {"DimensionX": 10, "DimensionY": 8, "DimensionZ": 4, "DimensionTime": 1}
    said |= {"VoxelSizeX": 5e-7, "VoxelSizeY": 5e-7, "VoxelSizeZ": 2e-6}
    for name, value in said.items():
        about[name] = value
    with tifffile.TiffWriter(tmp_path / "a.lsm", byteorder="<") as file:
        for z, plane in enumerate(stack):
            tags = [(34412, 1, about.nbytes, about.tobytes(), True)] if z == 0 else []
            file.write(plane, photometric="minisblack", metadata=None, extratags=tags)
            file.write(plane[::2, ::2], photometric="minisblack", metadata=None, subfiletype=1)
    with open_source(tmp_path / "a.lsm") as source:
        volume = name_volume(source)
        assert (source.kind, volume.scale_um) == ("a Zeiss LSM file", (2.0, 0.5, 0.5))
        np.testing.assert_array_equal(read_all(volume)[0, 0], stack)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"metadata": None},
        {"compression": "zlib"},
        {"compression": "zlib", "rowsperstrip": 3},
        {"tile": (16, 16)},
        {"bigtiff": True, "byteorder": ">"},
        {"compression": "zlib", "byteorder": ">", "bigtiff": True},
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
def test_plain_stacks_however_they_are_stored(tmp_path, more, dtype):
    stack = stack_of("ZYX", dtype)
    if stack.dtype.kind != "f" and "compression" in more:
        more = {**more, "predictor": True}  # tifffile alone cannot write it for floating point numbers
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", **more)
    with open_source(tmp_path / "a.tif") as source:
        volume = name_volume(source, scale_um=(1, 1, 1))
        assert volume.dtype == dtype
        assert "does not say that its planes lie along z" in volume.notes[0]
        np.testing.assert_array_equal(read_all(volume)[0, 0], stack)
        box = Box((1, 2, 3), (3, 7, 9))
        np.testing.assert_array_equal(volume.read(0, 0, box), stack[box.slices()])


@pytest.mark.parametrize(("dtype", "stored"), [("bool", "uint8"), ("float16", "float32")])
def test_types_that_zarr_readers_lack_are_stored_as_others(tmp_path, dtype, stored):
    stack = stack_of("ZYX") % 2 == 1 if dtype == "bool" else stack_of("ZYX", dtype)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    with open_source(tmp_path / "a.tif") as source:
        volume = name_volume(source, scale_um=(1, 1, 1))
        assert volume.dtype == stored
        assert any(f"{dtype} is stored as {stored}" in note for note in volume.notes)
        np.testing.assert_array_equal(read_all(volume)[0, 0], stack.astype(stored))


def test_complex_numbers_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", stack_of("ZYX", "complex64"), photometric="minisblack")
    with (
        open_source(tmp_path / "a.tif") as source,
        pytest.raises(InputError, match="its dtype is complex64; convert it to integers"),
    ):
        name_volume(source, scale_um=(1, 1, 1))


def test_colours_become_channels(tmp_path):
    stack = np.random.default_rng(0).integers(0, 255, (4, 8, 10, 3)).astype("uint8")
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="rgb")
    with open_source(tmp_path / "a.tif") as source:
        volume = name_volume(source, scale_um=(1, 1, 1))
        assert volume.channel_names == ("red", "green", "blue")
        assert any("colours become channels" in note for note in volume.notes)
        np.testing.assert_array_equal(read_all(volume)[0], np.moveaxis(stack, 3, 0))


def test_lzw_is_read_or_the_package_for_it_is_named(tmp_path):
    planes = [Image.fromarray(plane) for plane in stack_of("ZYX", "uint8")]
    planes[0].save(tmp_path / "a.tif", compression="tiff_lzw", save_all=True, append_images=planes[1:])
    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match=r"its compression is LZW.* pip install 'bigcp3d\[codecs\]'"):
            open_source(tmp_path / "a.tif").__enter__()
    else:
        with open_source(tmp_path / "a.tif") as source:
            found = read_all(name_volume(source, scale_um=(1, 1, 1)))[0, 0]
            np.testing.assert_array_equal(found, stack_of("ZYX", "uint8"))


@pytest.mark.parametrize("axes", ["TYX", "CYX"])
def test_planes_along_time_or_channels_are_asked_about(tmp_path, axes):
    stack = stack_of(axes)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": axes})
    with open_source(tmp_path / "a.tif") as source:
        with pytest.raises(InputError, match=r"without z.*If one of them is z, give --axes zyx. If each plane"):
            name_volume(source, scale_um=(1, 1, 1))
        volume = name_volume(source, scale_um=(1, 1, 1), axes="zyx")
        np.testing.assert_array_equal(read_all(volume)[0, 0], stack)
        assert name_volume(source, scale_um=(1, 1, 1), axes=axes.lower()).shape == (1, 8, 10)


def test_axes_that_the_file_does_not_name_are_asked_for(tmp_path):
    stack = stack_of("ZCYX")
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    with open_source(tmp_path / "a.tif") as source:
        with pytest.raises(InputError, match=r"has 4 axes \(4 x 2 x 8 x 10\).*give --axes .* such as zcyx"):
            name_volume(source, scale_um=(1, 1, 1))
        for wrong in ("zyx", "zzyx", "zcab", "zctz"):
            with pytest.raises(InputError, match=f"--axes is '{wrong}' for 4 axes"):
                name_volume(source, scale_um=(1, 1, 1), axes=wrong)
        np.testing.assert_array_equal(read_all(name_volume(source, scale_um=(1, 1, 1), axes="zcyx")), expected("ZCYX"))
        turned = name_volume(source, scale_um=(1, 1, 1), axes="xcyz")
        np.testing.assert_array_equal(read_all(turned)[0], stack.transpose(1, 3, 2, 0))


def test_a_single_plane_is_a_volume_of_one(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", stack_of("YX"))
    with open_source(tmp_path / "a.tif") as source:
        volume = name_volume(source, scale_um=(1, 1, 1))
        assert volume.shape == (1, 8, 10)
        assert any("a single plane" in note for note in volume.notes)
        np.testing.assert_array_equal(read_all(volume)[0, 0, 0], stack_of("YX"))


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0\x08\0\0\0nothing more")
    with pytest.raises(InputError, match="cannot be read"):
        open_source(tmp_path / "a.tif").__enter__()


@pytest.mark.parametrize("more", [{"imagej": True}, {"compression": "zlib"}, {"metadata": None}, {}])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_file_that_was_cut_off_is_refused(tmp_path, more, share):
    stack = np.random.default_rng(0).integers(0, 60000, (20, 50, 50)).astype("uint16")
    with tifffile.TiffWriter(tmp_path / "a.tif", imagej=more.pop("imagej", False)) as file:
        file.write(stack, photometric="minisblack", **more)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"^[^<]*cut off[^<]*$"):  # and no Python object
        open_source(tmp_path / "a.tif").__enter__()
