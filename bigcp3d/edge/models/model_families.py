"""Finds and loads a model of any family: our own, Cellpose's, and those that other packages add.

A family is a module (or an object) with the three functions of `ModelFamily`. Its package names it in an entry point::

    [project.entry-points."bigcp3d.models"]
    bright = "my_package.bright_spots"

Then ``--model bright:NAME`` uses it; the family decides what NAME means. A model without such a prefix belongs to the
family ``bigcp3d`` (`bigcp3d.edge.models.model_files`). `examples/custom_model.py` is a complete family.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.edge.models.model_files import GROUP, KEY
from bigcp3d.errors import ModelError

if TYPE_CHECKING:  # torch takes seconds to import, and a card does not need it
    from torch import nn


class ModelFamily(Protocol):
    """The functions of a family. ``name`` is the model without prefix: ``cyto3`` of ``cellpose:cyto3``."""

    def find_file(self, name: str) -> Path:
        """The file with the weights; its hash is kept with the labels. `ModelError` if missing."""

    def read_card(self, name: str) -> ModelCard:
        """What the network expects; this should not import torch if possible."""

    def read_network(self, name: str, device: str) -> nn.Module:
        """The network, in eval mode and without gradients, on a device of torch.

        It has at least one parameter or weight, takes patches (n, channels, z, y, x) and returns (n, 4, z, y, x):
        foreground 0..1, then flow z, y, x towards the cell's centre in the card's representation. The same patch must
        always give the same bits, or labels depend on how the work is divided. Several threads may call it at a time.
        """


def find_model(model: str | Path) -> Path:
    """The file of a model; `ModelError` where there is none."""
    family, name = _find_family(model)
    return family.find_file(name)


def load_card(model: str | Path) -> ModelCard:
    """The card of a model; `ModelError` where there is no such model or its file or card cannot be used."""
    family, name = _find_family(model)
    return family.read_card(name)


def load_network(model: str | Path, device: str = "cpu") -> tuple[nn.Module, ModelCard]:
    """The network in eval mode on ``device``, and its card; `ModelError` as `load_card`, or if weights do not fit."""
    family, name = _find_family(model)
    return family.read_network(name, device), family.read_card(name)


def model_hash(model: str | Path) -> str:
    """Sha256 of the model's file, in hexadecimal."""
    with find_model(model).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache
def _offers(find: Callable[..., Iterable[EntryPoint]], name: str) -> tuple[EntryPoint, ...]:
    """The installed packages' families of a name. Looked up once: it takes 30 ms, and a run asks five times."""
    return tuple(find(group=GROUP, name=name))


def _find_family(model: str | Path) -> tuple[ModelFamily, str]:
    """The family of a model, and the model's name without prefix."""
    prefix, colon, name = str(model).partition(":")
    found = _offers(entry_points, prefix) if colon else ()
    if not found:
        prefix, name = KEY, str(model)
        found = _offers(entry_points, KEY)
    if len(found) != 1:
        packages = ", ".join(entry.dist.name for entry in found if entry.dist) or "none"
        raise ModelError(
            f"{model}: exactly one installed package must offer the model family {prefix!r}, but these do: {packages}; "
            "reinstall bigcp3d, or uninstall the others"
        )
    try:
        family: ModelFamily = found[0].load()
        missing = [what for what in ("find_file", "read_card", "read_network") if not hasattr(family, what)]
        if missing:
            raise AttributeError(f"it lacks {', '.join(missing)}")
    except Exception as error:  # another package may raise anything
        raise ModelError(
            f"{model}: the model family {prefix!r} ({found[0].value}) cannot be used: {type(error).__name__}: {error}; "
            "install its package again"
        ) from error
    return family, name
