"""Checks before any work, and before anything is removed, that labels can be written to their target."""

from __future__ import annotations

import os
import shutil
import unicodedata
from dataclasses import replace
from pathlib import Path

import zarr

from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.image.metadata import first_multiscale, ome_part
from bigcp3d.edge.image.open_node import open_node
from bigcp3d.edge.image.same_grid import check_same_grid
from bigcp3d.edge.labels.edit_log import EditLog
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.labels.made_labels import read_made
from bigcp3d.edge.stores.check_writable import check_folder, nearest_there
from bigcp3d.edge.stores.places import Place, place, same_place
from bigcp3d.errors import InputError, TargetError
from bigcp3d.pure.memory import format_bytes
from bigcp3d.pure.plural import count


def check_target(target: LabelTarget, *, overwrite: bool, need_bytes: int = 0) -> None:
    """Raise `TargetError` for a target that cannot take the labels; nothing is written.

    ``overwrite`` allows labels of the same name, unless somebody has corrected them; ``need_bytes`` is an estimate of
    what will be written.
    """
    _check_store(target)
    path = target.path
    _check_letters(path)
    if path.exists():
        if not overwrite:
            raise TargetError(
                f"{path}: there are labels of that name already: {read_made(path)}. Give --overwrite to replace them, "
                "or another --name to add labels beside them"
            )
        _refuse_corrected(path)
    if isinstance(path, Path):
        for folder in (path.parent, path):  # permission for a bucket is checked when a run begins
            check_folder(folder, path, cure="give another --output")
        check_space(path, need_bytes)


def _refuse_corrected(path: Place) -> None:
    """Refuse to replace what somebody has done by hand: corrections, and decisions of a review."""
    changes = EditLog(path).by_hand()
    if changes:
        decisions = sum(change.kind == "decision" for change in changes)
        numbers = {"correction": len(changes) - decisions, "review decision": decisions}
        lost = " and ".join(count(number, word) for word, number in numbers.items() if number)
        raise TargetError(
            f"{path}: these labels hold {lost}, which --overwrite would delete; give another --name (bigcp3d edit "
            "replay repeats corrections there), or delete the labels yourself"
        )


def _check_letters(path: Place) -> None:
    """Refuse a name that this file system takes for another one: ``Cells`` for ``cells`` on Windows and macOS."""
    if isinstance(path, Path) and path.exists():
        names = os.listdir(path.parent)
        same = [name for name in names if _fold(name) == _fold(path.name)]
        if path.name not in names and same:
            raise TargetError(
                f"{path}: this disk does not tell the names {same[0]!r} and {path.name!r} apart, and labels "
                f"{same[0]!r} exist; use that --name, or another"
            )


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def check_space(path: Path, need_bytes: int) -> None:
    """Refuse a disk with less free space than needed (`TargetError`)."""
    nearest = nearest_there(path.parent)
    free = shutil.disk_usage(nearest).free
    if free < need_bytes:
        raise TargetError(
            f"{path}: about {format_bytes(need_bytes)} are needed, and {format_bytes(free)} are free on the disk of "
            f"{nearest}; free space, or give another --output"
        )


def check_group(path: Place, zarr_format: int) -> zarr.Group | None:
    """The zarr group at a path, None where nothing is; `TargetError` for an array or a group of the other format.

    Readers of one format do not see what lies in a group of the other.
    """
    if isinstance(path, Path) and path.is_symlink() and not path.exists():
        raise TargetError(f"{path}: this is a link to {path.readlink()}, which is not there; give another --output")
    if not path.exists() or (path.is_dir() and not any(True for _ in path.iterdir())):
        return None
    try:
        node = open_node(str(path))
    except InputError as error:
        raise TargetError(f"{path}: this is not a zarr group; give another --output ({error})") from error
    if isinstance(node, zarr.Array) or node.metadata.zarr_format != zarr_format:
        kind = "array" if isinstance(node, zarr.Array) else "group"
        raise TargetError(
            f"{path}: this is a zarr {kind} of version {node.metadata.zarr_format}, and a group of version "
            f"{zarr_format} is needed; give another --output"
        )
    return node


def _check_store(target: LabelTarget) -> None:
    """Refuse a store that is not a zarr group of the image's version, or is an image with other levels."""
    group = place(target.group)
    node = check_group(group, target.zarr_format)
    if node is None:
        return
    labels = check_group(group / "labels", target.zarr_format)
    if labels is not None and first_multiscale(labels.attrs.asdict(), str(group / "labels")) is not None:
        raise TargetError(f"{group / 'labels'}: this is an image itself, not a group of labels; give another --output")
    listed = None if labels is None else ome_part(labels.attrs.asdict()).get("labels")
    if listed is not None and not isinstance(listed, list):
        raise TargetError(f"{group / 'labels'}: its list of labels is {listed!r}, not a list of names; correct it")
    if same_place(group, target.image_path) or first_multiscale(node.attrs.asdict(), str(group)) is None:
        return
    other = open_image(group)
    found = [level.shape for level in other.levels]
    allowed = [level.shape for level in target.levels]
    if found != allowed:
        raise TargetError(
            f"{group}: this is another image: its levels have the shapes {found}, and those of the source are "
            f"{allowed}; give another --output"
        )
    check_same_grid(other, replace(other, path=target.image_path, levels=target.levels, units=target.units))
