"""The picture: middle planes, one colour a cell, borders where they are."""

import numpy as np
import pytest
from matplotlib.image import imread

from bigcp3d.face.pictures.plane_drawing import find_contrast, find_outlines, outline_segments, plane_of
from bigcp3d.face.pictures.planes_picture import Plane, colour_image, colour_labels, draw
from bigcp3d.pure.boxes import Box


def test_a_plane_is_one_voxel_thick_and_spans_the_box():
    planes = [plane_of(Box((10, 0, 0), (15, 8, 11)), axis) for axis in range(3)]
    assert [box.shape for box in planes] == [(1, 8, 11), (5, 1, 11), (5, 8, 1)]
    assert [box.start[axis] for axis, box in enumerate(planes)] == [12, 4, 5]
    assert plane_of(Box((10, 0, 0), (15, 8, 11)), 0, 14) == Box((14, 0, 0), (15, 8, 11))


def test_contrast_is_that_of_all_finite_values_and_never_empty():
    parts = [np.arange(500.0), np.array([np.nan, np.inf]), np.arange(500.0, 1001.0)]
    assert find_contrast(parts) == pytest.approx((10, 998))
    few = np.zeros(10_000, np.uint16)
    few[:5] = 700
    assert find_contrast([few]) == (0, 700)  # both percentiles are 0
    assert find_contrast([np.full(9, 7)]) == (7, 8)
    assert find_contrast([np.full(9, np.nan)]) == find_contrast([]) == (0, 1)


def test_a_cell_has_one_colour_and_neighbouring_ids_have_others():
    colours = colour_labels(np.array([[0, 7], [7, 2**32 - 1]], np.uint32))
    assert colours[0, 0].tolist() == [0, 0, 0]
    assert colours[0, 1].tolist() == colours[1, 0].tolist() != colours[1, 1].tolist()
    many = colour_labels(np.arange(1, 60)).astype(int)
    assert np.abs(np.diff(many, axis=0)).sum(axis=1).min() > 60
    assert np.array_equal(many[9], colour_labels(np.array(10)))  # whatever else is in the plane


@pytest.fixture(params=range(3))
def labels(request) -> np.ndarray:
    return np.random.default_rng(request.param).integers(0, 4, (7, 9)).repeat(2, axis=0).repeat(3, axis=1)


def test_a_line_of_pixels_is_one_wide_and_parts_all_that_differs(labels):
    lines = find_outlines(labels)
    assert not lines[labels == 0].any(), "lines lie in cells"
    expected = np.zeros(labels.shape, bool)
    for row, column in np.ndindex(labels.shape):
        for other in ((row, column + 1), (row + 1, column)):
            if max(np.subtract(other, labels.shape)) >= 0 or labels[other] == labels[row, column]:
                continue
            assert lines[row, column] or lines[other]
            expected[(row, column) if labels[row, column] else other] = True
    assert np.array_equal(lines, expected)
    own = find_outlines(labels, only=2)
    others = np.where(labels == 2, 2, np.where(labels > 0, 1, 0))
    assert np.array_equal(own, find_outlines(others, only=2)), "that of one label is a part of these lines"
    assert (lines | own == lines).all()
    assert own.any()


def test_segments_lie_between_pixels_wherever_labels_differ_and_nowhere_else(labels):
    found = set()
    for (x0, y0), (x1, y1) in outline_segments(labels):
        assert (x0 == x1) != (y0 == y1)
        if x0 == x1:
            found |= {(x0, y, "x") for y in np.arange(y0, y1)}
        else:
            found |= {(x, y0, "y") for x in np.arange(x0, x1)}
    assert len(found) > 10
    wanted = {(c + 0.5, r - 0.5, "x") for r, c in np.argwhere(labels[:, 1:] != labels[:, :-1])}
    wanted |= {(c - 0.5, r + 0.5, "y") for r, c in np.argwhere(labels[1:] != labels[:-1])}
    assert found == wanted


def test_a_line_is_one_pixel_of_the_picture_wide(tmp_path):
    labels = np.zeros((40, 60), int)
    labels[:, :30], labels[:, 30:] = 1, 2
    draw([Plane("z = 0", 1.0, np.zeros((40, 60)), labels)], tmp_path / "p.png")
    picture = imread(tmp_path / "p.png")
    yellow = (picture[..., 0] > 0.9) & (picture[..., 1] > 0.8) & (picture[..., 2] < 0.1)
    upright = yellow[:, : yellow.shape[1] // 2].sum(axis=0)
    assert np.count_nonzero(upright) == 1, "two cells that touch share a line"
    assert upright.max() > 200


def test_an_image_is_shown_in_grey():
    assert colour_image(np.array([[0.0, 1.0], [np.nan, 1.0]])).tolist() == [[[0] * 3, [255] * 3], [[0] * 3, [255] * 3]]


@pytest.mark.parametrize("with_truth", [True, False])
def test_the_picture_is_written(tmp_path, with_truth):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (8, 12))
    planes = [Plane("z = 0", 2.0, rng.random((8, 12)), labels, labels if with_truth else None)] * 3
    draw(planes, tmp_path / "p.png", "title")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_replaces_another_only_when_it_is_complete(tmp_path, monkeypatch):
    def fail(figure, file, **more):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    target = tmp_path / "planes.png"
    target.write_bytes(b"the earlier one")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    plane = Plane("z = 0", 1.0, np.zeros((4, 5)), np.ones((4, 5), int))
    with pytest.raises(OSError, match="No space left"):
        draw([plane], target)
    assert target.read_bytes() == b"the earlier one"
    assert [file.name for file in tmp_path.iterdir()] == ["planes.png"]
