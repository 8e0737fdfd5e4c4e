"""Files for publishing agree with the package: versions, dependencies, options, links."""

from __future__ import annotations

import re
import sys
import tomllib
from fnmatch import fnmatchcase
from importlib.metadata import requires, version
from pathlib import Path

import pytest
import typer
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
    oldest = re.search(r"python_min: \"([\d.]+)\"", text)[1]
    recipe = yaml.safe_load(text.replace("${{ python_min }}", oldest))
    rows = recipe["requirements"]["run"]
    split = (re.fullmatch(r"([\w-]+)(.*)", each).groups() for each in read_project()["dependencies"])
    wanted = {
        f"python {read_project()['requires-python']}",
        *(f"{CONDA.get(name, name)} {rest}" for name, rest in split),
    }
    assert set(rows) == wanted
    builders = tomllib.loads((CLONE / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    hosts = {f"python {oldest}.*", "pip", *(each.replace(">", " >", 1) for each in builders)}
    assert set(recipe["requirements"]["host"]) == hosts
    commands = {f"{name} = {target}" for name, target in read_project()["scripts"].items()}
    assert set(recipe["build"]["python"]["entry_points"]) == commands
    words = re.search(r"- bigcp3d demo\b(.*)", text)[1].split()
    typer.main.get_command(app).commands["demo"].make_context("demo", words)  # an unknown option is an error


def test_the_wheel_takes_the_package_and_no_folder_beside_it():
    tools = tomllib.loads((CLONE / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    include = tools["setuptools"]["packages"]["find"]["include"]
    names = ["bigcp3d", "bigcp3d.pure.track", "bigcp3d-env.lib", "tests"]
    taken = [name for name in names if any(fnmatchcase(name, pattern) for pattern in include)]
    assert taken == ["bigcp3d", "bigcp3d.pure.track"]


@pytest.mark.parametrize("name", ["nextflow/main.nf", "snakemake/Snakefile"])
def test_workflows_use_options_that_segment_has(name):
    text = (DEPLOY / "workflows" / name).read_text(encoding="utf-8")
    command = text[text.index("bigcp3d segment ") :]
    used = set(re.findall(r"(--[a-z-]+)", command[: command.index("> ")]))
    segment = typer.main.get_command(app).commands["segment"]
    known = {option for parameter in segment.params for option in parameter.opts}
    assert used - known == set()
    assert {"--output", "--table", "--work-dir", "--workers", "--overwrite"} <= used
    assert "--memory-limit" in text, "a worker gets its share of the memory that the workflow gives the task"


def test_a_release_publishes_the_image_that_workflows_run():
    workflows = DEPLOY / "workflows"
    files = [CLONE / ".github/workflows/release.yml", workflows / "nextflow/main.nf", workflows / "snakemake/Snakefile"]
    texts = [file.read_text(encoding="utf-8") for file in files]
    assert {re.search(r"ghcr\.io/[\w/-]+:", text)[0] for text in texts} == {"ghcr.io/bigcp3d/bigcp3d:"}


def test_torch_in_the_image_comes_from_its_own_index_alone():
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert "--extra-index-url" not in text, "with a second index, pip takes another build if one is missing"
    assert "NUMBA_CACHE_DIR" not in text, "in a folder of all users, others could put code"


def test_an_image_that_is_built_again_has_the_same_packages():
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    for name in ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"):  # pip 25.3 and later read the second one for what builds
        assert f"{name}=/src/deploy/constraints.txt" in text
    assert "PIP_NO_COMPILE" not in text, "pip reads 1 as: do compile"
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    assert all("\nARG SOURCE_DATE_EPOCH=" in stage for stage in stages), "useradd, too, writes a date"


def test_constraints_name_all_that_the_image_installs():
    text = (DEPLOY / "constraints.txt").read_text(encoding="utf-8")
    pins = {canonicalize_name(name): pin for name, pin in re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE)}
    extras = read_project()["optional-dependencies"]
    rows = [*read_project()["dependencies"], *extras["jobqueue"], *extras["ssh"]]
    seen: set[str] = set()
    while rows:
        row = Requirement(rows.pop())
        name = canonicalize_name(row.name)
        if str(row) in seen or re.match(r"nvidia-|cuda-|triton", name):  # what torch for GPUs brings
            continue
        seen.add(str(row))
        assert name in pins, f"{name} is installed too: name its version"
        if version(name).split("+")[0] != pins[name]:  # another release may ask for other packages
            continue
        for each in map(Requirement, requires(name) or []):
            oldest = {"python_version": "3.11", "python_full_version": "3.11.9"}
            if not each.marker or any(each.marker.evaluate({**oldest, "extra": x}) for x in ("", *row.extras)):
                rows.append(str(each).partition(";")[0])
    assert len(seen) > 20


def test_public_ci_covers_each_python_that_pyproject_names():
    jobs = yaml.safe_load((CLONE / ".github/workflows/tests.yml").read_text(encoding="utf-8"))["jobs"]
    rows = jobs["tests"]["strategy"]["matrix"]["include"]
    named = {re.search(r"3\.\d+$", text)[0] for text in read_project()["classifiers"] if re.search(r":: 3\.\d+$", text)}
    covered = {(row["python"], row["libraries"]) for row in rows if row["os"] == "ubuntu-latest"}
    assert covered == {(python, libraries) for python in named for libraries in ("pinned", "newest")}
    for row in rows:
        assert ("pins" in row) == (row["libraries"] == "pinned")
        assert (CLONE / row.get("pins", "")).exists()


def test_pyproject_names_the_systems_on_which_public_ci_must_pass():
    jobs = yaml.safe_load((CLONE / ".github/workflows/tests.yml").read_text(encoding="utf-8"))["jobs"]
    rows = jobs["tests"]["strategy"]["matrix"]["include"]
    names = {"ubuntu-latest": "POSIX :: Linux", "windows-latest": "Microsoft :: Windows", "macos-latest": "MacOS"}
    passing = {f"Operating System :: {names[row['os']]}" for row in rows if not row.get("may-fail")}
    assert {text for text in read_project()["classifiers"] if text.startswith("Operating System")} == passing


@pytest.mark.parametrize("path", sorted((CLONE / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_forms_and_workflows_are_yaml(path):
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    options = [row["attributes"].get("options", []) for row in content.get("body", [])]
    assert all(isinstance(option, str) for each in options for option in each), "YAML reads a bare no as a boolean"


def test_links_of_a_page_become_absolute_for_pypi(monkeypatch):
    monkeypatch.syspath_prepend(str(DEPLOY))
    from absolute_links import FILES, PICTURES, make_absolute

    page = '![a](examples/a.png) [b](tests/README.md#c) [d](#e) [f](https://g.org) <img src="examples/h.jpg">'
    expected = f"![a]({PICTURES}examples/a.png) [b]({FILES}tests/README.md#c) [d](#e) [f](https://g.org) "
    assert make_absolute(page) == expected + f'<img src="{PICTURES}examples/h.jpg">'
    sys.modules.pop("absolute_links")
