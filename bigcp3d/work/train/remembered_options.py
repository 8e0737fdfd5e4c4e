"""A resumed training takes its options from its checkpoint, so that the user need not give them again."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from bigcp3d.edge.stores.places import is_address
from bigcp3d.edge.stores.zarr_write import plain_json
from bigcp3d.errors import InputError
from bigcp3d.work.plan.name_differences import name_differences
from bigcp3d.work.train.checkpoint import Checkpoint, checkpoint_of, load_checkpoint
from bigcp3d.work.train.settings import TrainSettings

log = logging.getLogger(__name__)

FORGOTTEN = ("output", "resume", "overwrite", "samples_only")
"""Options that say how a training is started, not what it is."""

Options = dict[str, Any]


def options_of(settings: TrainSettings) -> Options:
    """All options that a checkpoint keeps, as JSON; local paths from the root, so that any folder can go on."""
    options = {each.name: getattr(settings, each.name) for each in fields(settings) if each.name not in FORGOTTEN}
    for name in ("volumes", "painted", "from_edits", "validation"):
        options[name] = [_from_root(path) for path in options[name]]
    for name, value in options.items():
        if isinstance(value, Mapping):  # of volumes
            options[name] = {_from_root(path): number for path, number in value.items()}
    if settings.cache is not None:
        options["cache"] = _from_root(settings.cache)
    if settings.start is not None:
        options["start"] = _from_root(settings.start) if os.path.exists(settings.start) else str(settings.start)
    kept: Options = plain_json({name: str(v) if isinstance(v, Path) else v for name, v in options.items()})
    return kept


def _from_root(path: str | Path) -> str:
    """A path, or PATH::LABELS, from the root."""
    store, separator, name = str(path).partition("::")
    return str(path) if is_address(store) else os.path.abspath(store) + separator + name


def take_up(output: str | Path, given: Mapping[str, Any]) -> tuple[TrainSettings, Checkpoint | None]:
    """The options of a training, and its checkpoint where it goes on from one.

    A training that is resumed has the options of its checkpoint, and in their place those that are given now.
    `InputError` for a damaged checkpoint, or for no checkpoint and nothing to learn from.
    """
    path = checkpoint_of(output)
    if not given.get("resume"):
        return TrainSettings(output=output, **given), None
    if not path.exists():
        settings = TrainSettings(output=output, **given)
        if not settings.has_data:
            raise InputError(
                f"{path}: there is no checkpoint from which to resume; correct --output, or give the volumes"
            )
        return settings, None
    checkpoint = load_checkpoint(path)
    before = {name: _as_tuple(value) for name, value in checkpoint.options.items()}
    settings = TrainSettings(output=output, **{**before, **given})
    changed = name_differences(checkpoint.options, options_of(settings))
    words = f"with other options: {'; '.join(changed)}" if changed else "with its own options"
    log.info("%s: the training goes on from step %d of %d, %s", path, checkpoint.step, settings.steps, words)
    return settings, checkpoint


def _as_tuple(value: Any) -> Any:
    """Lists as tuples, as settings hold them."""
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
