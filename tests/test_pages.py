"""The code of README.md and of the documentation site runs as it stands, on small data."""

import re
from pathlib import Path

import pytest

import bigcp3d
from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.pure.boxes import Box
from tests.fake_cellpose import install, write_weights
from tests.pages import read_blocks, run_page
from tests.schedule.conftest import tissue_values

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("bigcp3d", "deploy", "docs", "examples", "tests")
MADE = ROOT / "docs" / "reference" / "commands"  # when the site is built
BELOW = sorted(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md") if page.parent != MADE)
PAGES = [*sorted(ROOT.glob("*.md")), *BELOW]
WITH_CODE = [page for page in PAGES if any(not block.not_run for block in read_blocks(page.read_text()))]
SLOW = [page for page in WITH_CODE if any(block.slow for block in read_blocks(page.read_text()))]


def name_of(page):
    return str(page.relative_to(ROOT))


pytestmark = pytest.mark.usefixtures("each_patch_is_computed_once")


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page(page)


def test_the_commands_of_cellpose_3_run_on_a_stand_in(tmp_path, monkeypatch):
    text = (ROOT / "docs" / "tutorials" / "cellpose.md").read_text()
    (block,) = (block for block in read_blocks(text) if block.not_run == "run by a test of its own")
    monkeypatch.chdir(tmp_path)
    for weights in (install(monkeypatch, tmp_path) / "cyto3", tmp_path / "my_weights"):
        write_weights(weights)
    values = tissue_values((8, 20, 28)).astype("float32")
    sides = {"shape": values.shape, "chunk": values.shape, "shard": values.shape}
    image = create_image("embryo.zarr", dtype="float32", scale_um=(1.0, 1.0, 1.0), channels=2, **sides)
    for channel in range(2):
        write_image_box(image, Box.of_shape(values.shape), values, channel=channel)
    (tmp_path / "page.md").write_text(f"```bash\n{block.code}```\n")
    assert run_page(tmp_path / "page.md") == 1
    assert open_image("embryo.zarr").label_names == ("cyto3", "mine")


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW, ids=name_of)
def test_all_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page(page, slow=True)


def test_every_page_that_the_site_includes_is_among_them():
    include = re.compile(r"^`+\{include\} (\S+)$", re.MULTILINE)
    included = {(page.parent / part).resolve() for page in PAGES for part in include.findall(page.read_text())}
    assert ROOT / "tests" / "benchmarks" / "README.md" in included
    assert included <= {*PAGES}


def test_a_block_that_fails_and_a_note_that_is_unknown_are_told(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("<!-- first\ntouch made\n-->\n\n```bash\nls made\nls missing  # a comment\n```\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match=r"page\.md, line 5: ls missing"):
        run_page(page)
    with pytest.raises(ValueError, match="'is hard' is no reason"):
        list(read_blocks("<!-- not run: is hard -->\n```bash\nls\n```\n"))
    with pytest.raises(ValueError, match="line 2: the language is ''"):
        list(read_blocks("\n```\nls\n```\n"))
    assert not [
        block for block in read_blocks("<!-- not run: needs a GPU -->\n```bash\nls\n```\n") if not block.not_run
    ]


def test_a_reader_of_a_tutorial_sees_all_of_its_commands():
    tutorials = [page for page in PAGES if page.parent.name == "tutorials"]
    assert len(tutorials) > 8
    assert [page.name for page in tutorials if "<!-- first" in page.read_text()] == []


def test_the_python_reference_has_every_public_name():
    text = (ROOT / "docs" / "reference" / "python.md").read_text()
    errors = {name for name in bigcp3d.__all__ if name.endswith("Error")}
    assert set(re.findall(r":: bigcp3d\.(\w+)", text)) == {*bigcp3d.__all__} - errors - {"__version__"}
