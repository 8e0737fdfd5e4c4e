"""Messages and help never name files that the installed package lacks."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import bigcp3d

PACKAGE = Path(bigcp3d.__file__).parent
ONLY_IN_THE_CLONE = re.compile(r"\b(examples|deploy|docs|tests)/|\b(README|DESIGN|CHANGELOG|CONTRIBUTING)\b|\.ci/")
ADDRESS = re.compile(r"https://\S+")
ON_GITHUB = "https://github.com/bigcp3d/bigcp3d/blob/"
WRITTEN_THERE = ("edge/models/bioimageio_package.py", "edge/models/bioimageio_description.py")  # write a README


def find_named_files(source: str) -> list[str]:
    """The texts of a module that name such files: messages, and help below the fields of options.

    Docstrings of modules and functions are for readers of the code.
    """
    tree = ast.parse(source)
    described = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, described) and _is_text(node)}
    docstrings |= {id(node.value) for node in tree.body if isinstance(node, ast.Expr)}  # below a module's constants
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings)
    return [node.value for node in texts if isinstance(node.value, str) and ONLY_IN_THE_CLONE.search(node.value)]


def _is_text(node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return bool(node.body) and isinstance(node.body[0], ast.Expr)


@pytest.mark.parametrize("layer", ["pure", "edge", "work", "schedule", "face"])
def test_no_message_names_a_file_that_only_the_clone_has(layer):
    found = {
        path.relative_to(PACKAGE).as_posix(): named
        for path in sorted((PACKAGE / layer).rglob("*.py"))
        if (named := find_named_files(path.read_text(encoding="utf-8")))
    }
    assert {name: texts for name, texts in found.items() if name not in WRITTEN_THERE} == {}


def test_forms_of_the_report_and_the_plugin_name_none():
    forms = [*PACKAGE.rglob("*.j2"), *PACKAGE.rglob("napari.yaml")]
    assert forms
    assert [str(path) for path in forms if ONLY_IN_THE_CLONE.search(path.read_text(encoding="utf-8"))] == []


def test_model_cards_link_only_to_addresses_that_a_file_of_the_clone_has():
    """``bigcp3d models NAME`` prints them, so they name files of the clone by their address on GitHub only."""
    cards = {path.name: path.read_text(encoding="utf-8") for path in (PACKAGE / "models").glob("*.md")}
    assert cards
    assert [name for name, text in cards.items() if ONLY_IN_THE_CLONE.search(ADDRESS.sub("", text))] == []
    links = [link for text in cards.values() for link in re.findall(r"\]\(([^)]*)\)", text)]
    assert [link for link in links if not link.startswith(ON_GITHUB)] == []
    today = [link.removeprefix(f"{ON_GITHUB}main/").partition("#")[0] for link in links if f"{ON_GITHUB}main/" in link]
    assert today
    assert [link for link in today if not (PACKAGE.parent / link).is_file()] == []


@pytest.mark.parametrize("text", ["see examples/x.py", "(README, Models)", "deploy/*.yaml", "docs/how-to"])
def test_a_name_is_found(text):
    module = f'"""examples/x.py"""\ndef f():\n    """Like README."""\n    raise ValueError("{text}")\n'
    assert find_named_files(module) == [text]
