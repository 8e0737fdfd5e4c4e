"""Edits the list of labels in a store, and the root of a store that holds only labels.

A store given with ``--output`` has no image, but viewers expect one at the root. So the root's ``multiscales`` name the
arrays of the labels that were finished last, and its ``image-label`` names the source image. A root with an image of
its own is never changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from bigcp3d.edge.image.metadata import first_multiscale, is_labels, ome_part
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.stores.places import Place, path_between, place, same_place
from bigcp3d.edge.stores.zarr_write import edit_attributes, is_group

log = logging.getLogger(__name__)


def versioned(target: LabelTarget, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """OME-Zarr metadata in the place for the version: under ``ome`` in zarr 3, at the top in zarr 2."""
    return dict(metadata) if target.zarr_format == 2 else {"ome": {"version": target.version, **metadata}}


def source_path(target: LabelTarget, group: Place) -> str:
    """Path from a group to the image: ``../../`` inside it, else as `path_between`."""
    return "../../" if same_place(target.group, target.image_path) else path_between(group, target.image_path)


def enter_label(target: LabelTarget) -> None:
    """Add the name to the list, at the end.

    ome-zarr 0.18 and 0.21 add it again each time, and state no version in the list's group. They also cannot know of
    another writer who adds a name at the same time.
    """
    _edit_list(target, lambda names: names if target.name in names else [*names, target.name])


def withdraw_label(target: LabelTarget) -> None:
    """Remove the name from the list, and from a root that shows these labels."""
    if not is_group(target.path.parent):
        return
    _edit_list(target, lambda names: [name for name in names if name != target.name])

    def hide(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
        if shown_at_root(attributes) != target.name:
            return attributes
        ome = {k: v for k, v in ome_part(attributes).items() if k not in ("multiscales", "image-label")}
        return ome if target.zarr_format == 2 else {**attributes, "ome": ome}

    edit_attributes(place(target.group), target.zarr_format, hide)


def shown_at_root(attributes: Mapping[str, Any]) -> str | None:
    """Name of the labels that a root shows; None where it has an image of its own or nothing."""
    multiscale = first_multiscale(attributes, "root") or {}
    parts = str((multiscale.get("datasets") or [{}])[0].get("path", "")).split("/")
    return parts[1] if is_labels(attributes) and len(parts) == 3 and parts[0] == "labels" else None


def image_label(target: LabelTarget, group: Place) -> dict[str, Any]:
    """The ``image-label`` of labels in a group; the version stands there up to 0.5."""
    version = {} if target.version == "0.6" else {"version": target.version}
    return {**version, "source": {"image": source_path(target, group)}}


def show_at_root(target: LabelTarget, multiscale: Mapping[str, Any]) -> None:
    """Make a root without an image of its own show the labels that ``multiscale`` describes, with paths from there."""
    root = place(target.group)
    shown = {"multiscales": [multiscale], "image-label": image_label(target, root)}

    def show(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
        if first_multiscale(attributes, str(root)) is not None and shown_at_root(attributes) is None:
            return attributes
        ome = ome_part(attributes) if "ome" in attributes else {}
        return {**attributes, **versioned(target, {**ome, **shown})}

    edit_attributes(root, target.zarr_format, show)


def _edit_list(target: LabelTarget, edit: Callable[[list[Any]], list[Any]]) -> None:
    """Change the list of names; only our own name comes or goes."""
    path = target.path.parent

    def change(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
        ome = ome_part(attributes)
        names = edit(list(ome.get("labels") or []))
        dangling = [str(name) for name in names if name != target.name and not is_group(path / str(name))]
        if dangling:
            log.warning("%s: the list names %s, but there are no such labels", path, ", ".join(dangling))
        if target.zarr_format == 2 and "ome" not in attributes:
            return {**attributes, "labels": names}
        return {**attributes, "ome": {"version": target.version, **ome, "labels": names}}

    edit_attributes(path, target.zarr_format, change)
