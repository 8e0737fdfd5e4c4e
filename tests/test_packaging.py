"""Files for publishing agree with the package: versions, dependencies, options, links."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from bigcp3d.face.cli import app
from bigcp3d.version import __version__

CLONE = Path(__file__).parents[1]
DEPLOY = CLONE / "deploy"
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def read_project() -> dict[str, object]:
    return tomllib.loads((CLONE / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("CITATION.cff", r"^version: (\S+)$"),
        ("CHANGELOG.md", r"\A(?:.*\n)*?## (\d\S+)"),
        ("deploy/Dockerfile", r"bigcp3d:([\d.]+)"),
        ("deploy/conda/recipe.yaml", r"version: \"([\d.]+)\""),
        ("deploy/kubernetes/cluster.yaml", r"bigcp3d:([\d.]+)"),
        ("deploy/kubernetes/job.yaml", r"bigcp3d:([\d.]+)"),
        ("deploy/workflows/nextflow/main.nf", r"bigcp3d(?::|: )([\d.]+)"),
        ("deploy/workflows/nextflow/nextflow.config", r"bigcp3d:([\d.]+)"),
        ("deploy/workflows/snakemake/Snakefile", r"bigcp3d:([\d.]+)"),
    ],
)
def test_every_file_names_the_version_of_the_package(name, pattern):
    found = re.findall(pattern, (CLONE / name).read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    assert set(found[:1] if name == "CHANGELOG.md" else found) == {__version__}


def test_the_conda_recipe_asks_for_what_pyproject_asks_for():
    text = (DEPLOY / "conda" / "recipe.yaml").read_text(encoding="utf-8")
    rows = yaml.safe_load(text)["requirements"]["run"]
    split = (re.fullmatch(r"([\w-]+)(.*)", each).groups() for each in read_project()["dependencies"])
    wanted = {
        f"python {read_project()['requires-python']}",
        *(f"{CONDA.get(name, name)} {rest}" for name, rest in split),
    }
    assert set(rows) == wanted


@pytest.mark.parametrize("name", ["nextflow/main.nf", "snakemake/Snakefile"])
def test_workflows_use_options_that_segment_has(name):
    text = (DEPLOY / "workflows" / name).read_text(encoding="utf-8")
    command = text[text.index("bigcp3d segment ") :]
    used = set(re.findall(r"(--[a-z-]+)", command[: command.index("> ")]))
    segment = typer.main.get_command(app).commands["segment"]
    known = {option for parameter in segment.params for option in parameter.opts}
    assert used - known == set()
    assert {"--output", "--table", "--work-dir", "--workers", "--overwrite"} <= used


def test_public_ci_covers_each_python_that_pyproject_names():
    jobs = yaml.safe_load((CLONE / ".github/workflows/tests.yml").read_text(encoding="utf-8"))["jobs"]
    rows = jobs["tests"]["strategy"]["matrix"]["include"]
    named = {re.search(r"3\.\d+$", text)[0] for text in read_project()["classifiers"] if re.search(r":: 3\.\d+$", text)}
    assert {row["python"] for row in rows if row["os"] == "ubuntu-latest"} == named
    assert {row["libraries"] for row in rows} == {"pinned", "newest"}
    assert all((CLONE / row["pins"]).exists() for row in rows if "pins" in row)


@pytest.mark.parametrize("path", sorted((CLONE / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_forms_and_workflows_are_yaml(path):
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_links_of_a_page_become_absolute_for_pypi(monkeypatch):
    monkeypatch.syspath_prepend(str(DEPLOY))
    from absolute_links import FILES, PICTURES, make_absolute

    page = '![a](examples/a.png) [b](tests/README.md#c) [d](#e) [f](https://g.org) <img src="examples/h.jpg">'
    expected = f"![a]({PICTURES}examples/a.png) [b]({FILES}tests/README.md#c) [d](#e) [f](https://g.org) "
    assert make_absolute(page) == expected + f'<img src="{PICTURES}examples/h.jpg">'
    sys.modules.pop("absolute_links")
