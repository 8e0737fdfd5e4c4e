"""Imports go one way only (bigcp3d/DESIGN.md, Layers): an arrow that points up, or at a foreign library, fails."""

import ast
from pathlib import Path

import pytest

import bigcp3d

PACKAGE = Path(bigcp3d.__file__).parent
LAYERS = (
    "pure",
    "edge",
    "work",
    "schedule",
    "face",
)  # lowest first; a layer may import itself and what stands before it
BESIDE = ("errors", "option")
SCREEN = {"typer", "click", "rich", "matplotlib"}
SCHEDULING = {"dask", "distributed"}
PATHS = {"os", "pathlib", "shutil", "tempfile", "glob"}
FORBIDDEN = {
    "pure": SCREEN | SCHEDULING | PATHS | {"zarr", "ome_zarr", "ome_zarr_models", "pydantic", "safetensors", "psutil"},
    "edge": SCREEN | SCHEDULING,
    "work": SCREEN | SCHEDULING,
    "schedule": SCREEN,
    "face": set[str](),
}


def imported(source: str, module: str) -> set[str]:
    """Full names of all that a module's source imports, under TYPE_CHECKING and inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def home(name: str) -> str:
    """Where a name of ours lives: the lazy names of the top level lead to their homes."""
    parts = name.split(".")
    if parts[0] == "bigcp3d" and len(parts) == 2 and parts[1] in bigcp3d._HOMES:
        return bigcp3d._HOMES[parts[1]]
    return name


def wrong_arrows(source: str, module: str) -> list[str]:
    """Imports of ``module`` (``bigcp3d.layer.name``) that its layer does not allow, as ``module -> import``."""
    layer = module.split(".")[1]
    allowed = {*LAYERS[: LAYERS.index(layer) + 1], *BESIDE, "__version__"}
    wrong = []
    for name in map(home, imported(source, module)):
        top, _, rest = name.partition(".")
        if (top == "bigcp3d" and rest and rest.split(".")[0] not in allowed) or top in FORBIDDEN[layer]:
            wrong.append(f"{module} -> {name}")
    return wrong


def modules() -> list[tuple[str, Path]]:
    paths = [path for layer in LAYERS for path in sorted((PACKAGE / layer).rglob("*.py"))]
    return [(".".join(("bigcp3d", *path.relative_to(PACKAGE).with_suffix("").parts)), path) for path in paths]


def test_every_import_points_down():
    found = modules()
    assert len(found) > 20  # the walk found the package
    assert [arrow for module, path in found for arrow in wrong_arrows(path.read_text(), module)] == []


def test_every_module_belongs_to_a_layer():
    loose = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__", *BESIDE}
    folders = {path.name for path in PACKAGE.iterdir() if any(path.glob("*.py"))}
    assert not loose
    assert folders == set(LAYERS)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("bigcp3d.pure.a", "import zarr"),
        ("bigcp3d.pure.a", "from pathlib import Path"),
        ("bigcp3d.pure.a", "from bigcp3d.edge.image.image import open_image"),
        ("bigcp3d.edge.a", "from bigcp3d import work"),
        ("bigcp3d.edge.a", "from bigcp3d import segment"),
        ("bigcp3d.work.a", "def f():\n    import dask.array as da"),
        (
            "bigcp3d.work.a",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bigcp3d.schedule.segment import Plan",
        ),
        ("bigcp3d.work.a", "from ..schedule import plan"),
        ("bigcp3d.schedule.a", "from bigcp3d.face.progress.progress import Pace"),
        ("bigcp3d.schedule.a", "import rich"),
    ],
)
def test_a_wrong_import_is_found(module, source):
    assert wrong_arrows(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "bigcp3d.pure.a",
            "import numpy as np\nfrom bigcp3d.pure.boxes import Box\nfrom bigcp3d.errors import InputError",
        ),
        ("bigcp3d.edge.a", "from bigcp3d import __version__\nfrom bigcp3d.pure.boxes import Box\nimport zarr"),
        ("bigcp3d.schedule.a", "from bigcp3d.work.track import track\nfrom . import plan\nimport distributed"),
        ("bigcp3d.face.a", "from bigcp3d import segment\nimport rich"),
    ],
)
def test_a_right_import_passes(module, source):
    assert not wrong_arrows(source, module)
