"""The documentation site. Build it: ``pip install --group docs``, then ``sphinx-build -W docs site``.

The option ``--group`` needs pip 25.1 or later. CONTRIBUTING.md has the whole commands.

Sphinx with MyST and the PyData theme is what napari, scikit-image, Dask, anndata and SpatialData use. autodoc imports
the package, and bigcp3d makes a part of its docstrings when it is imported (`bigcp3d.option.takes`).
"""

import sys
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

import bigcp3d
from bigcp3d.face.cli import app as commands

project = "bigcp3d"
author = "The bigcp3d developers"
copyright = author
version = release = bigcp3d.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "sphinx_design"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
autodoc_typehints = "none"  # the docstrings say them, with shapes and units
autodoc_member_order = "bysource"
napoleon_numpy_docstring = True
napoleon_google_docstring = False
maximum_signature_line_length = 100
default_role = "code"
smartquotes = False  # they make a dash of the two hyphens of an option
copybutton_prompt_text = "$ "
exclude_patterns = ["_build"]

html_theme = "pydata_sphinx_theme"
html_title = "bigcp3d"
html_static_path = ["_static"]
html_css_files = ["bigcp3d.css"]
html_show_sourcelink = False
html_show_sphinx = False
html_sidebars = {"index": [], "gallery": []}
html_theme_options = {
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "navigation_with_keys": False,
    "pygments_light_style": "tango",
}


def write_commands() -> None:
    """One page for each command, from its help. The pages are not kept in the repository."""
    folder = DOCS / "reference" / "commands"
    folder.mkdir(exist_ok=True)
    group = typer.main.get_command(commands)
    context = typer.Context(group, info_name="bigcp3d")
    for name, command in group.commands.items():
        page = get_docs_for_click(obj=command, ctx=context, name=f"bigcp3d {name}").rstrip() + "\n"
        target = folder / f"{name}.md"
        if not target.exists() or target.read_text() != page:
            target.write_text(page)


def shorten_signature(app, what, name, thing, options, signature, returned):
    """A signature of dozens of settings is cut: the list below it has them all."""
    if signature and signature.count(",") > 12:
        signature = ", ".join(signature.split(", ")[:4]) + ", ...)"
    return signature, returned


def setup(app):
    app.connect("autodoc-process-signature", shorten_signature)


write_commands()
