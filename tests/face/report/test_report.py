"""The report: what it shows is what is in the store, to the voxel; it is small, asks for nothing, and harms no run."""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import re
import shlex
import shutil
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import zarr
from PIL import Image
from typer.testing import CliRunner

import bigcp3d
from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.errors import InputError, TargetError
from bigcp3d.face.cli import app
from bigcp3d.face.report import views, write
from bigcp3d.face.report.write import ReportWriter, path_of, write_report
from bigcp3d.face.view.scene import make_scene
from bigcp3d.pure.boxes import Box
from tests.schedule.conftest import read_labels


@dataclass
class Shown:
    """One view of a page: where it says that it lies, and its two pictures."""

    place: dict[str, str]
    pictures: list[np.ndarray] = field(default_factory=list)

    def numbers(self, name: str) -> tuple[int, ...]:
        return tuple(int(word) for word in self.place[f"data-{name}"].split())

    @property
    def box(self) -> Box:
        return Box(self.numbers("start"), self.numbers("stop"))


class Page(HTMLParser):
    """Views, images, tags and text of a report."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.views, self.images, self.tags, self.words = text, [], [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.add(tag)
        if "data-start" in attributes:
            self.views.append(Shown(attributes))
        if tag == "img":
            self.images.append(attributes)
            content = base64.b64decode(attributes["src"].partition("base64,")[2])
            self.views[-1].pictures.append(np.asarray(Image.open(io.BytesIO(content)).convert("RGBA")))

    def handle_data(self, data):
        self.words.append(data.strip())

    def number(self, name: str) -> str:
        """The figure under a name at the page's top."""
        return self.words[self.words.index(name) + 1]


@pytest.fixture(scope="module")
def run(tissue_store, random_model, tmp_path_factory):
    """A run in blocks: its store, summary and report. Its maps are in ``work`` beside the store."""
    folder, writer = tmp_path_factory.mktemp("run"), ReportWriter()
    settings = {"model": random_model, "block": (34, 30, 26), "executor": "serial", "diameter_um": "as-is"}
    store = folder / "out.zarr"
    settings |= {"output": store, "min_volume": 10, "keep_maps": True, "work_dir": folder / "work"}
    summary = bigcp3d.segment(tissue_store, on_event=writer, **settings)
    return store, summary, writer.path


@pytest.fixture
def from_maps(run, random_model, tmp_path) -> dict:
    """Settings of another run, which needs no network."""
    maps = run[0].parent / "work"
    return {"model": random_model, "maps": maps, "executor": "serial", "min_volume": 10, "output": tmp_path / "o.zarr"}


@pytest.fixture(scope="module")
def page(run) -> Page:
    return Page(run[2].read_text())


def expected_lines(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Where lines have to be in a picture of a shape: on one of two pixels whose voxels have different labels."""
    rows, columns = ([int((i + 0.5) * m / n) for i in range(n)] for n, m in zip(shape, labels.shape, strict=True))
    large = labels[rows][:, columns]
    lines = np.zeros(shape, bool)
    for axis in range(2):
        first, second = np.moveaxis(large, axis, 0)[:-1], np.moveaxis(large, axis, 0)[1:]
        on_first, on_second = np.moveaxis(lines, axis, 0)[:-1], np.moveaxis(lines, axis, 0)[1:]
        on_first |= (first != second) & (first > 0)
        on_second |= (first != second) & (first == 0)
    return lines


def outlines_fit(page: Page, labels: np.ndarray) -> bool:
    """Whether all outlines of the page lie where labels change, and all changes have outlines one pixel wide."""
    fit = []
    for shown in page.views:
        plane = labels[shown.box.slices()].squeeze(int(shown.place["data-axis"]))
        there = shown.pictures[1][..., 3] > 0
        fit.append(np.array_equal(there, expected_lines(plane, there.shape)) and there.any())
    return all(fit)


def test_outlines_lie_where_the_labels_change_and_not_one_voxel_beside(run, page):
    labels = read_labels(run[0], "cells")
    assert {shown.place["data-axis"] for shown in page.views} == {"0", "1", "2"}
    assert len(page.views) >= 3 + 3 * 20
    assert outlines_fit(page, labels)
    for axis in range(3):  # the control: labels shifted by one voxel
        for shift in (1, -1):
            assert not outlines_fit(page, np.roll(labels, shift, axis))


def test_a_picture_has_as_many_pixels_as_the_screen_so_that_lines_are_one_wide(page):
    for shown in page.views:
        width = re.search(r"width:(\d+)px;aspect-ratio:\1/(\d+)", shown.place["style"])
        assert shown.pictures[1].shape[:2] == (int(width[2]), int(width[1]))


def test_the_cell_of_a_picture_has_its_own_colour(page):
    cyan = [(shown.pictures[1] == (0, 229, 255, 255)).all(axis=-1) for shown in page.views]
    yellow = [(shown.pictures[1] == (255, 220, 0, 255)).all(axis=-1) for shown in page.views]
    assert not any(mask.any() for mask in cyan[:3])
    assert all(mask.any() for mask in cyan[3:])
    assert any(mask.any() for mask in yellow[3:])


def test_each_cell_has_its_position_and_a_command_that_opens_the_viewer_there(run, page):
    labels = read_labels(run[0], "cells")
    cells = re.findall(
        r"<strong>cell (\d+)</strong>.*?at z, y, x = (\d+), (\d+), (\d+) \(([^)]*) µm\).*?<code[^>]*>([^<]*)</code>",
        page.text,
    )
    assert len(cells) == (len(page.views) - 3) / 3
    scale = open_labels(run[0], "cells").levels[0].scale_um
    for label, *position, micrometres, command in cells:
        voxel = tuple(map(int, position))
        assert labels[voxel] == int(label), "the position lies in the cell"
        assert micrometres == ", ".join(f"{v * s:.1f}" for v, s in zip(voxel, scale, strict=True))
        words = shlex.split(html.unescape(command))
        assert words[:2] == ["bigcp3d", "view"]
        scene = make_scene(words[2], at=words[words.index("--at") + 1])
        assert scene.at == voxel
        assert [group.info.path for group in scene.groups][-1] == f"{run[0]}/labels/cells"


def test_the_image_under_the_outlines_is_that_of_the_place(tissue_store, page):
    image = open_image(tissue_store)
    for shown in page.views[:3]:
        axis = int(shown.place["data-axis"])
        grey = shown.pictures[0][..., 0].astype(float)

        def likeness(row=0, column=0, box=shown.box, axis=axis, grey=grey):
            plane = read_box(image, 0, box).squeeze(axis)
            inner = (slice(2, -2), slice(2, -2))
            return np.corrcoef(np.roll(plane, (row, column), (0, 1))[inner].ravel(), grey[inner].ravel())[0, 1]

        assert likeness() > 0.95
        assert all(likeness(*shift) < likeness() - 0.02 for shift in ((1, 0), (-1, 0), (0, 1), (0, -1)))


def test_numbers_equal_those_counted_on_all_voxels(run, page):
    store, summary, _ = run
    labels = read_labels(store, "cells")
    ids, volumes = np.unique(labels[labels > 0], return_counts=True)
    assert page.number("cells") == f"{len(ids):,}" == f"{summary.cells:,}"
    assert page.number("median volume") == f"{np.median(volumes) * 0.25:.3g} µm³"
    assert page.number("labelled") == f"{np.count_nonzero(labels) / labels.size:.1%}"
    bars = re.findall(r"<title>([\d,]+) cells? of ", page.text)
    assert sum(int(bar.replace(",", "")) for bar in bars) == len(ids)
    for name, count in summary.removed.items():
        at = page.words.index(name)
        assert f"{count:,}" in page.words[at : at + 6]
    largest = volumes.max()
    assert f"{largest * 0.25:,.0f} µm³, {largest:,} voxels" in page.text
    assert [row for row in ("predict", "track", "cluster", "label") if row not in page.words] == []
    assert page.words.count("Look closer.") == len(summary.oddities) > 0, "the random model gives odd cells"
    assert all(f"{oddity[1:]}." in " ".join(page.words) for oddity in summary.oddities)
    assert page.number("foreground without a cell") == f"{summary.unassigned_vox / summary.foreground_vox:.2%}"


def test_the_page_needs_nothing_else(page):
    assert "script" not in page.tags
    assert not {"link", "iframe", "object", "video"} & page.tags
    assert all(image["src"].startswith("data:image/") for image in page.images)
    addresses = re.findall(r"(?:https?:)?//[^\s\"'<]+", re.sub(r'src="data:[^"]*"', "", page.text))
    assert [a for a in addresses if "w3.org" not in a] == []
    assert "url(" not in page.text
    assert "@import" not in page.text


def test_those_who_cannot_see_are_told_what_is_shown(page):
    assert all("alt" in image for image in page.images)
    told = [image["alt"] for image in page.images if image["alt"]]
    assert len(told) == len(page.views)
    assert re.fullmatch(r"Slice across z at z = 17: image in grey, outlines of \d+ cells in yellow\.", told[0])
    assert page.text.count("<svg") == len(re.findall(r'<svg[^>]* role="img" aria-label="[^"]{20,}"', page.text)) == 2


def test_the_same_report_is_made_again_from_the_labels(run, page, tmp_path):
    done = CliRunner().invoke(app, ["report", str(run[0]), "--output", str(tmp_path / "again.html")])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"report: {tmp_path / 'again.html'}\n"
    again = Page((tmp_path / "again.html").read_text())
    labels = read_labels(run[0], "cells")
    assert outlines_fit(again, labels)
    for name in ("cells", "median volume", "labelled", "wall time", "memory of a worker"):
        assert again.number(name) == page.number(name)


def test_labels_of_another_tool_get_what_can_be_known(run, tmp_path):
    labels = open_labels(run[0], "cells")
    group = zarr.open_group(labels.path, mode="r")
    other = zarr.create_group(tmp_path / "other.zarr")
    multiscale = group.attrs["ome"]["multiscales"][0]
    multiscale = {"axes": multiscale["axes"], "datasets": multiscale["datasets"][:1]}
    other.attrs["ome"] = {"multiscales": [multiscale], "version": "0.5", "image-label": {}}
    other.create_array("0", data=read_labels(run[0], "cells"), chunks=(17, 30, 26))
    text = write_report(tmp_path / "other.zarr", "").read_text()
    assert "have no record of bigcp3d" in text
    assert "cannot be read, so outlines are shown alone" in text
    assert outlines_fit(Page(text), read_labels(run[0], "cells"))


def test_micrometres_follow_the_scale_that_was_given(tissue_store, from_maps, tmp_path):
    writer = ReportWriter()
    bigcp3d.segment(tissue_store, on_event=writer, scale_um=(2.0, 1.5, 1.0), **from_maps)
    _, volumes = np.unique(read_labels(tmp_path / "o.zarr", "cells"), return_counts=True)
    page = Page(writer.path.read_text())
    assert page.number("median volume") == f"{np.median(volumes[1:]) * 3:.3g} µm³"  # the store says 0.25
    assert "voxel 2 × 1.5 × 1 µm" in page.text
    assert "not from what the store says" in page.text


def test_cells_that_were_added_outside_the_region_of_the_run_are_shown_too(tissue_store, from_maps, tmp_path):
    writer = ReportWriter()
    bigcp3d.segment(tissue_store, on_event=writer, roi="0:12,0:60,0:51", **from_maps)
    of_run = Page(writer.path.read_text())
    before = read_labels(tmp_path / "o.zarr", "cells")
    assert of_run.number("labelled") == f"{np.count_nonzero(before) / before[:12].size:.1%}"
    bigcp3d.edit(tmp_path / "o.zarr").add(np.ones((16, 40, 40), np.uint8), at=(15, 10, 5))
    page = Page(write_report(tmp_path / "o.zarr", "cells").read_text())
    labels = read_labels(tmp_path / "o.zarr", "cells")
    assert page.number("labelled") == f"{np.count_nonzero(labels) / labels.size:.1%}"
    speed = page.words.index("wall time") + 2
    assert page.words[speed] == of_run.words[of_run.words.index("wall time") + 2], "that of the run"
    assert outlines_fit(page, labels)
    inside = np.unique(labels[1:-1, 1:-1, 1:-1])
    border = len(set(np.unique(labels)) - {0}) - sum(
        not np.isin(label, np.concatenate([np.moveaxis(labels, a, 0)[[0, -1]].ravel() for a in range(3)]))
        for label in inside[inside > 0]
    )
    assert page.words[page.words.index("cells") + 2] == f"{border} touch the border"


def test_the_record_of_labels_cannot_put_tags_into_the_page(run, tmp_path):
    store = Path(shutil.copytree(run[0], tmp_path / "foreign.zarr"))
    file = store / "labels/cells/zarr.json"
    said = json.loads(file.read_text())
    said["attributes"]["bigcp3d"]["run"]["passes"][0]["name"] = "</title><script>alert(1)</script>"
    file.write_text(json.dumps(said))
    page = Page(write_report(store, "cells").read_text())
    assert "script" not in page.tags
    assert "&lt;script&gt;" in page.text


def test_labels_with_another_voxel_size_than_their_image_are_warned_of_once(run, tissue_store, tmp_path, caplog):
    store = Path(shutil.copytree(run[0], tmp_path / "other.zarr"))
    file = store / "labels/cells/zarr.json"
    said = json.loads(file.read_text())
    for level in said["attributes"]["ome"]["multiscales"][0]["datasets"]:
        level["coordinateTransformations"][0]["scale"] = [9.0, 9.0, 9.0]
    file.write_text(json.dumps(said))
    write_report(store, "cells", image=str(tissue_store))
    assert caplog.text.count("pairs their voxels") == 1


def test_no_cells_are_a_report_too(tissue_store, from_maps):
    writer = ReportWriter()
    assert bigcp3d.segment(tissue_store, on_event=writer, **{**from_maps, "min_volume": 10**6}).cells == 0
    assert "There are no cells." in writer.path.read_text()


def test_a_report_that_fails_leaves_the_run_finished_and_says_so(
    tissue_store, from_maps, tmp_path, monkeypatch, caplog
):
    def fail(*args, **more):
        raise RuntimeError("no ink")

    monkeypatch.setattr(write, "write_report", fail)
    with caplog.at_level(logging.WARNING, "bigcp3d"):
        summary = bigcp3d.segment(tissue_store, on_event=ReportWriter(), **from_maps)
    assert "no ink" in caplog.text
    assert open_labels(tmp_path / "o.zarr", "cells").levels[0].shape == (34, 60, 51)
    assert read_labels(tmp_path / "o.zarr", "cells").max() == summary.cells
    assert list(tmp_path.glob("*.bigcp3d")) == []  # its work directory went as ever


def test_a_file_that_is_no_report_is_not_replaced_and_a_report_is(run, tmp_path):
    target = tmp_path / "mine.html"
    target.write_text("<html>my thesis</html>")
    with pytest.raises(TargetError, match="is not a report"):
        write_report(run[0], "cells", output=target)
    assert target.read_text() == "<html>my thesis</html>"
    write_report(run[0], "cells", output=tmp_path / "r.html")
    write_report(run[0], "cells", output=tmp_path / "r.html")
    with pytest.raises(InputError, match="no labels 'cels'"):
        write_report(run[0], "cels")


def test_the_report_lies_beside_the_outermost_store(run, tmp_path, monkeypatch):
    assert run[2] == run[0].parent / "out.cells.report.html"
    well = zarr.create_group(tmp_path / "plate.zarr").create_group("A/1/0/labels/cells")
    assert path_of(f"{tmp_path}/plate.zarr/{well.path}") == tmp_path / "plate.A.1.0.cells.report.html"
    monkeypatch.chdir(tmp_path)
    assert path_of("s3://bucket/a/embryo.zarr/labels/cells") == tmp_path / "bucket-a-embryo.cells.report.html"
    assert path_of("s3://bucket/b/embryo.zarr/labels/cells") != path_of("s3://bucket/a/embryo.zarr/labels/cells")


@pytest.fixture
def huge(tmp_path) -> Path:
    """Labels and image of 10^13 voxels in one level, of which nothing is stored."""
    root = zarr.create_group(tmp_path / "huge.zarr")
    for group, dtype in ((root, "uint16"), (root.create_group("labels/cells"), "uint32")):
        scale = [{"type": "scale", "scale": [1.0, 0.5, 0.5]}]
        axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
        multiscale = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
        label = {} if group is root else {"image-label": {"source": {"image": "../../"}}}
        group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale], **label}
        group.create_array("0", shape=(20_000, 40_000, 12_500), dtype=dtype, chunks=(64, 64, 64), fill_value=0)
    root["labels"].attrs["ome"] = {"version": "0.5", "labels": ["cells"]}
    return tmp_path / "huge.zarr"


def test_a_report_stays_small_and_reads_little_of_any_volume(huge, monkeypatch):
    from tests.pure.cells.test_cell_summary import in_parts, make_rows

    read, rng = [], np.random.default_rng(0)

    def noise(image, level, box, **more):  # nothing is harder to compress
        read.append(box.size)
        return rng.integers(0, np.iinfo(image.dtype).max, box.shape, image.dtype)

    monkeypatch.setattr(views, "read_box", noise)
    low = rng.integers((2_000, 2_000, 2_000), (18_000, 38_000, 10_000), (40, 3))
    rows = make_rows(40, low=low, high=low + np.array([1, 900, 900]), border=np.zeros(40, bool))
    path = write_report(huge, "cells", parts=in_parts(rows))
    assert len(Page(path.read_text()).views) == 3 + 3 * 30
    assert 1e6 < path.stat().st_size < 5e6
    assert sum(read) <= 2 * (3 * views.PLANE_SIDE**2 + 30 * views.CROP_SIDE**3)  # image and labels


def test_segment_writes_a_report_and_names_it_unless_told_not_to(run, tissue_store, tmp_path):
    command = ["segment", tissue_store, "--maps", str(run[0].parent / "work"), "--serial", "--min-volume", "10"]
    with_it = CliRunner().invoke(app, [*command, "--output", str(tmp_path / "a.zarr")])
    assert with_it.exit_code == 0, with_it.output
    assert f"report: {tmp_path / 'a.cells.report.html'}" in with_it.stdout
    quiet = ("--no-report", "--table", "none", "--quiet")
    without = CliRunner().invoke(app, [*command, "--output", str(tmp_path / "b.zarr"), *quiet])
    assert without.exit_code == 0, without.output
    assert "report:" not in without.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"a.zarr", "a.cells.csv", "a.cells.report.html", "b.zarr"}
