"""``bigcp3d models``: shows models, and exchanges them with other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bigcp3d.edge.stores.platforms import join_words
from bigcp3d.errors import InputError
from bigcp3d.face import options as o
from bigcp3d.face.exit_codes import set_up_logging

SHOW = "show"


class ShowByDefault(TyperGroup):
    """``bigcp3d models NAME`` stands for ``bigcp3d models show NAME``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in where there is none."""
        asks_for_help = any(word in ctx.help_option_names for word in args)
        if not (args and args[0] in self.commands) and not asks_for_help:
            args = [SHOW, *args]
        return super().parse_args(ctx, args)


models = typer.Typer(
    cls=ShowByDefault,
    rich_markup_mode="markdown",
    help="Show models, or exchange them with other programs. `bigcp3d models` shows those that come with bigcp3d; "
    "`bigcp3d models NAME` shows one, with its scores.",
)


@models.command(SHOW)
def show(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="A model that comes with bigcp3d, a .safetensors file, or cellpose:NAME|PATH. Default: all that come "
            "with bigcp3d.",
        ),
    ] = None,
    verbose: o.Verbose = False,
) -> None:
    """Show the models that come with bigcp3d: images that they take, and training data. For one, also its scores."""
    set_up_logging(verbose, quiet=False)
    from bigcp3d.edge.models.model_families import find_model, load_card
    from bigcp3d.edge.models.model_files import shipped_models
    from bigcp3d.face.describe_store import describe_model

    chosen = shipped_models() if name is None else {name: find_model(name)}
    if not chosen:
        raise InputError("no model is installed with bigcp3d; reinstall it, or train a model with 'bigcp3d train'")
    typer.echo("\n\n".join(describe_model(key, path, load_card(key)) for key, path in chosen.items()))
    for scores in (path.with_suffix(".md") for path in chosen.values() if name is not None):
        if scores.is_file():
            typer.echo("\n" + scores.read_text(encoding="utf-8").rstrip())


@models.command("export")
def export_model(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A model that comes with bigcp3d, or a .safetensors file.")
    ],
    bioimageio: Annotated[
        Path, typer.Option("--bioimageio", metavar="DIR", help="Folder for the package; new, or empty.")
    ],
    author: Annotated[
        list[str] | None,
        typer.Option(
            "--author", metavar="NAME", help="Who made the model, if it does not come with bigcp3d. May be repeated."
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option("--licence", metavar="SPDX", help="Licence of its weights, such as CC-BY-4.0 or BSD-3-Clause."),
    ] = None,
    verbose: o.Verbose = False,
) -> None:
    """Write a model as a package for the BioImage.IO model zoo, which `bioimageio.core` can run."""
    set_up_logging(verbose, quiet=False)
    from bigcp3d.edge.models.bioimageio_package import write_package

    written = write_package(name, bioimageio, authors=author or (), licence=licence)
    command = join_words(["bioimageio", "test", str(written)])
    typer.echo(f"{written}\nto check it: pip install 'bigcp3d[bioimageio]', then {command}")


@models.command("import")
def import_model(
    package: Annotated[
        Path,
        typer.Argument(metavar="DIR|ZIP", help="A package that 'bigcp3d models export' wrote, as a folder or zipped."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", metavar="FILE", help="The model file to write, with a name that ends in .safetensors."
        ),
    ],
    verbose: o.Verbose = False,
) -> None:
    """Make a file for --model from a BioImage.IO package. No code from the package is run."""
    set_up_logging(verbose, quiet=False)
    from bigcp3d.edge.models.bioimageio_package import read_package
    from bigcp3d.face.describe_store import describe_model

    typer.echo(describe_model(str(output), output, read_package(package, output)))
