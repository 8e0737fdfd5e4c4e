"""The pictures of simulated looks show each function that makes one."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "examples" / "pictures"
PURE = ROOT / "bigcp3d" / "pure"
MODULES = [
    *(PURE / "optics").glob("*.py"),
    *(PURE / "tissue" / "looks").glob("*.py"),
    PURE / "tissue" / "deform.py",
    PURE / "learn" / "augment.py",
]

WHOLE = {
    "degrade", "draw_background", "draw_camera", "draw_optics", "draw_picture", "paint_membranes", "paint_nuclei",
    "paint_nuclei_in_cells", "turn",
}  # fmt: skip
"""They call many others. The sheet of whole samples shows what they make."""

HELPERS = {
    "draw_blur", "draw_granules", "draw_levels", "draw_noise", "draw_share", "find_borders", "log_uniform",
    "smooth_noise",
}  # fmt: skip
"""They make numbers or fields for the others."""


def parse(file):
    return ast.parse(file.read_text())


def called_in(tree):
    return {ast.unparse(node.func).rpartition(".")[2] for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_each_function_that_makes_a_look_has_a_panel():
    functions = {node.name for file in MODULES for node in parse(file).body if isinstance(node, ast.FunctionDef)}
    public = {name for name in functions if not name.startswith("_")}
    assert len(public) > 50
    assert public - called_in(parse(PICTURES / "looks.py")) == WHOLE | HELPERS


def test_the_page_shows_each_sheet():
    names = r"looks_\w+\.jpg"
    sheets = {file.name for file in PICTURES.glob("looks_*.jpg")}
    assert set(re.findall(names, (PICTURES / "looks.md").read_text())) == sheets
    assert set(re.findall(names, ast.get_docstring(parse(PICTURES / "looks.py")))) == sheets
