"""Imports go one way only (bigcp3d/DESIGN.md, Layers), and never in a circle, also inside a layer."""

import ast
from functools import cache
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
BESIDE = ("errors", "option", "version")
SCREEN = {"typer", "click", "rich", "matplotlib"}
SCHEDULING = {"dask", "distributed"}
LAZY = {"bigcp3d.pure.prepare.filters": {"dask.array.Array"}, "bigcp3d.pure.prepare.prepare_box": {"dask.array"}}
"""Lazy arrays of a box that is in memory, which the module computes itself: nothing is scheduled elsewhere."""
PATHS = {"os", "pathlib", "shutil", "tempfile", "glob"}
FORBIDDEN = {
    "pure": SCREEN | SCHEDULING | PATHS | {"zarr", "ome_zarr", "ome_zarr_models", "pydantic", "safetensors", "psutil"},
    "edge": SCREEN | SCHEDULING,
    "work": SCREEN | SCHEDULING,
    "schedule": SCREEN,
    "face": set[str](),
}


@cache  # three tests ask it of all modules
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


def wrong_arrows(source: str, module: str) -> list[str]:
    """Imports of ``module`` (``bigcp3d.layer.name``) that its layer does not allow, as ``module -> import``.

    What the top level offers (``from bigcp3d import segment``) is for users: a layer that imported it would point up.
    """
    layer = module.split(".")[1]
    allowed = {*LAYERS[: LAYERS.index(layer) + 1], *BESIDE}
    wrong = []
    for name in imported(source, module):
        top, _, rest = name.partition(".")
        if name in LAZY.get(module, ()):
            continue
        if (top == "bigcp3d" and rest.split(".")[0] not in allowed) or top in FORBIDDEN[layer]:
            wrong.append(f"{module} -> {name}")
    return wrong


def modules() -> list[tuple[str, Path]]:
    paths = [path for layer in LAYERS for path in sorted((PACKAGE / layer).rglob("*.py"))]
    return [(".".join(("bigcp3d", *path.relative_to(PACKAGE).with_suffix("").parts)), path) for path in paths]


def test_every_import_points_down():
    found = modules()
    assert len(found) > 20  # the walk found the package
    assert [arrow for module, path in found for arrow in wrong_arrows(path.read_text(), module)] == []


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of names that reach each other along the arrows of a graph."""
    reached = {}
    for start in graph:
        seen, ahead = set[str](), [start]
        while ahead:
            new = graph.get(ahead.pop(), set()) - seen
            seen |= new
            ahead += new
        reached[start] = seen
    groups = {frozenset(b for b in reached[a] if a in reached.get(b, ())) for a in graph if a in reached[a]}
    return sorted(sorted(group) for group in groups)


def module_arrows(sources: dict[str, str]) -> dict[str, set[str]]:
    """The modules that each module imports, under TYPE_CHECKING and inside functions too."""
    graph = {}
    for module, source in sources.items():
        names = imported(source, module)
        graph[module] = {name if name in sources else name.rpartition(".")[0] for name in names} & set(sources)
    return graph


def folder_arrows(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same between folders: ``bigcp3d.layer.folder``; a module that lies in no folder stands for itself."""

    def folder(module: str) -> str:
        return ".".join(module.split(".")[:3])

    graph: dict[str, set[str]] = {}
    for module, others in arrows.items():
        graph.setdefault(folder(module), set()).update({folder(other) for other in others} - {folder(module)})
    return graph


def test_no_modules_import_each_other_in_a_circle():
    arrows = module_arrows({module: path.read_text() for module, path in modules()})
    assert sum(map(len, arrows.values())) > 200  # the walk found the package's imports
    assert circles(arrows) == []


def test_no_folders_import_each_other_in_a_circle():
    arrows = folder_arrows(module_arrows({module: path.read_text() for module, path in modules()}))
    assert sum(map(len, arrows.values())) > 50
    assert circles(arrows) == []


def test_a_circle_is_found():
    sources = {
        "bigcp3d.pure.a.one": "from bigcp3d.pure.b.two import f",
        "bigcp3d.pure.b.two": "def f():\n    from bigcp3d.pure.c import g",
        "bigcp3d.pure.c": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import bigcp3d.pure.a.one",
        "bigcp3d.pure.d": "from bigcp3d.pure import c",
    }
    arrows = module_arrows(sources)
    assert circles(arrows) == [["bigcp3d.pure.a.one", "bigcp3d.pure.b.two", "bigcp3d.pure.c"]]
    assert circles(folder_arrows(arrows)) == [["bigcp3d.pure.a", "bigcp3d.pure.b", "bigcp3d.pure.c"]]
    sources["bigcp3d.pure.c"] = "from bigcp3d.pure.a.other import x"
    sources["bigcp3d.pure.a.other"] = ""
    arrows = module_arrows(sources)
    assert circles(arrows) == []
    assert circles(folder_arrows(arrows)) == [["bigcp3d.pure.a", "bigcp3d.pure.b", "bigcp3d.pure.c"]], "by two modules"


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
        ("bigcp3d.edge.a", "from bigcp3d import __version__"),
        ("bigcp3d.face.a", "from bigcp3d import segment"),
        ("bigcp3d.face.a", "import bigcp3d"),
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
        ("bigcp3d.edge.a", "from bigcp3d.version import __version__\nfrom bigcp3d.pure.boxes import Box\nimport zarr"),
        ("bigcp3d.schedule.a", "from bigcp3d.work.track import track\nfrom . import plan\nimport distributed"),
        ("bigcp3d.face.a", "from bigcp3d.schedule.segment import segment\nimport rich"),
    ],
)
def test_a_right_import_passes(module, source):
    assert not wrong_arrows(source, module)
