"""The code of README.md and of the documentation site runs as it stands, on small data."""

import re
from pathlib import Path

import pytest

import bigcp3d
from tests.pages import read_blocks, run_page

ROOT = Path(__file__).resolve().parents[1]
SHOWN = [ROOT / "README.md", ROOT / "deploy" / "README.md", ROOT / "examples" / "napari.md"]  # the site shows them too
PAGES = [*SHOWN, *sorted(p for p in (ROOT / "docs").rglob("*.md") if p.parent.name != "commands")]
WITH_CODE = [page for page in PAGES if any(not block.not_run for block in read_blocks(page.read_text()))]
SLOW = [page for page in WITH_CODE if any(block.slow for block in read_blocks(page.read_text()))]


def name_of(page):
    return str(page.relative_to(ROOT))


pytestmark = pytest.mark.usefixtures("each_patch_is_computed_once")


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page(page)


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW, ids=name_of)
def test_all_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page(page, slow=True)


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


def test_the_python_reference_has_every_public_name():
    text = (ROOT / "docs" / "reference" / "python.md").read_text()
    errors = {name for name in bigcp3d.__all__ if name.endswith("Error")}
    assert set(re.findall(r":: bigcp3d\.(\w+)", text)) == {*bigcp3d.__all__} - errors - {"__version__"}
