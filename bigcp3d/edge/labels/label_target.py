"""Whether labels can be written where they shall go; found out before any work, and before anything is removed.

Only metadata are read. A store of another zarr version, an image of other levels, labels of the same name, a folder
without permission and a disk without space are each told with the cure.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import zarr

from bigcp3d.edge.image.diagnose import open_node
from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.image.metadata import first_multiscale
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.stores.files import check_folder, nearest_there
from bigcp3d.edge.stores.places import place, same_place
from bigcp3d.errors import InputError, TargetError
from bigcp3d.pure.memory import format_bytes


def check_target(target: LabelTarget, *, overwrite: bool, need_bytes: int = 0) -> None:
    """Refuse a target that cannot take the labels; nothing is written.

    Parameters
    ----------
    target : LabelTarget
        From `plan_labels`.
    overwrite : bool
        Whether labels of that name may stand there already.
    need_bytes : int
        Estimate of what will be written there.

    Raises
    ------
    TargetError
        Where the place is taken, of another kind, without permission, or the disk has not that much space.
    """
    _check_store(target)
    path = target.path
    if path.exists() and not overwrite:
        raise TargetError(
            f"{path}: found labels of that name; allowed is a name that is free; give another --name, or --overwrite"
        )
    if isinstance(path, Path):
        _check_folder(path)
        check_space(path, need_bytes)


def _check_folder(path: Path) -> None:
    """Refuse a folder without permission; whether a bucket may be written to shows when a run begins."""
    for folder in (path.parent, path):
        check_folder(folder, path, cure="give another --output")


def check_space(path: Path, need_bytes: int) -> None:
    """Refuse a disk with less free space than needed (`TargetError`)."""
    nearest = nearest_there(path.parent)
    free = shutil.disk_usage(nearest).free
    if free < need_bytes:
        raise TargetError(
            f"{path}: found {format_bytes(free)} free on the disk of {nearest}; needed are about "
            f"{format_bytes(need_bytes)}; free space, or give another --output"
        )


def _check_store(target: LabelTarget) -> None:
    """Refuse a store that is no zarr group of the right version, or an image whose levels are others."""
    group = place(target.group)
    if not group.exists() or (group.is_dir() and not any(True for _ in group.iterdir())):
        return
    try:
        node = open_node(str(group))
    except InputError as error:
        raise TargetError(f"{group}: found something that is no zarr group; give another --output ({error})") from error
    if isinstance(node, zarr.Array) or node.metadata.zarr_format != target.zarr_format:
        kind = "array" if isinstance(node, zarr.Array) else "group"
        raise TargetError(
            f"{group}: found a zarr {node.metadata.zarr_format} {kind}; allowed is a zarr {target.zarr_format} group, "
            "as the image is; give another --output"
        )
    if same_place(group, target.image_path) or first_multiscale(node.attrs.asdict(), str(group)) is None:
        return
    found = [level.shape for level in open_image(group).levels]
    allowed = [level.shape for level in target.levels]
    if found != allowed:
        raise TargetError(
            f"{group}: found an image with levels of {found}; allowed are those of the source, {allowed}; "
            "give another --output"
        )
