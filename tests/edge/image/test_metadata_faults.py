"""Every difference from the specification is told, and nothing is said of a sound store."""

import pytest
import zarr

from bigcp3d.edge.image.count_chunks import count_chunks
from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.image.metadata_faults import all_faults

VERSIONS = ("0.1", "0.2", "0.3", "0.4", "0.5")


def told(path):
    return [fault.removeprefix(f"{path}: ") for fault in all_faults(open_image(path), [])]


def omero(*channels):
    return lambda ome: ome.update(omero={"channels": list(channels)})


def first(change):
    return lambda ome: change(ome["multiscales"][0])


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_is_said_of_a_sound_store(stores, version):
    assert told(stores.image(version, "tczyx", levels=2)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"edit": lambda ome: ome.pop("version")}, "the version is not stated in ome; read as 0.5"),
        ({"version": "0.4", "edit": first(lambda m: m.pop("version"))}, "not stated in multiscales; read as 0.4"),
        ({"axes": "xyz"}, "the axes are x,y,z; the specification orders them z,y,x"),
        ({"edit": first(lambda m: m["axes"][0].pop("type"))}, "axis 'z' has no type"),
        ({"unit": "um"}, "axis 'z' has the unit 'um', which is not a length in the specification's words"),
        ({"unit": ["um"]}, "axis 'z' has the unit ['um'], which is not a length"),
        ({"scale": None}, "level '0' has nothing in place of a scale"),
        ({"levels": 2, "edit": first(lambda m: m["datasets"].reverse())}, "in the order 1, 0; the specification has"),
        (
            {"levels": 2, "edit": first(lambda m: m["datasets"].insert(1, {"path": "gone"}))},
            "the metadata name level(s) gone, but these are missing or do not fit the finest level",
        ),
        ({"axes": "czyx", "edit": omero({}, {})}, "omero describes 2 channels, but the image has 3"),
        ({"axes": "czyx", "edit": omero({"label": "a"}, {"label": "a"}, {})}, "2 channels are called 'a'"),
        ({"axes": "czyx", "edit": omero({"label": "1"}, {}, {})}, "channel 0 is called '1', the number of another"),
        ({"edit": omero({"color": "red"})}, "channel 0 has the color 'red'; six hexadecimal digits"),
        ({"edit": omero({"window": {"start": 0, "end": 1}})}, "the window of channel 0 has no min, max"),
        ({"edit": lambda ome: ome.update(omero=[])}, "omero has no list of channels"),
    ],
)
def test_each_difference_from_the_specification_is_told(stores, change, words):
    faults = told(stores.image(**change))
    assert words in " | ".join(faults)


@pytest.mark.parametrize("kind", ["labels", "tables"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_array_in_place_of_a_group_is_told(stores, kind, version):
    path = stores.image(version)
    zarr.create_array(path / kind, shape=(3,), dtype="u1", zarr_format=2 if version == "0.4" else 3)
    assert f"{kind} is a zarr array, not a group" in " | ".join(told(path))


def test_labels_of_the_other_zarr_format_and_names_without_a_group_are_told(stores):
    path = stores.image("0.5")
    stores.image("0.4", name="image.zarr/labels/old")
    zarr.open_group(path / "labels", mode="a", zarr_format=3).attrs["ome"] = {"labels": ["old", "gone", "old"]}
    said = " | ".join(told(path))
    assert "labels: the version is not stated in ome" in said
    assert "labels/old is of zarr 2, and the image of zarr 3" in said
    assert "has 'old' 2 times" in said
    assert "names 'gone', which is not there" in said


@pytest.mark.parametrize(("version", "separator"), [("0.4", "/"), ("0.4", "."), ("0.5", "/")])
@pytest.mark.parametrize("shards", [None, (6, 10, 22)])
def test_missing_chunks_are_told_from_files_with_other_names(stores, version, separator, shards):
    if shards and version == "0.4":
        pytest.skip("0.4 has no shards")
    chunks = (3, 5, 11) if shards else (6, 10, 22)
    path = stores.image(version, "czyx", separator=separator, chunks=chunks, shards=shards)
    image = open_image(path)
    whole = count_chunks(image, 0)
    assert (whole.stored, whole.expected, whole.others, whole.missing) == (12, 12, 0, 0)
    chunk = path / "0" / ("c/1/0/0/0" if version == "0.5" else separator.join("1000"))
    chunk.rename(chunk.with_name(chunk.name + "7"))  # outside of the image
    (path / "0" / ".nfs01").write_bytes(b"")
    less = count_chunks(image, 0)
    assert (less.stored, less.missing, less.others) == (11, 1, 1)
    assert less.example == str(chunk.relative_to(path / "0")) + "7"
    assert less.pieces == ("shards" if shards else "chunks")
