"""Makes the surfaces of picked cells, when the browser asks for them. Nothing is written.

Neuroglancer reads a mesh of one cell from two objects of its "legacy" format: ``ID:0`` names the parts, and ``ID`` is
the only part: the number of corners (uint32), corners x, y, z (float32, nanometres), and triangles (uint32).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.labels.labels import read_label_box
from bigcp3d.edge.stores.places import is_address
from bigcp3d.errors import InputError
from bigcp3d.face.view.scene import Labels, Scene
from bigcp3d.face.view.served_objects import ServedGroup
from bigcp3d.pure.cells.surface_mesh import mesh_surface
from bigcp3d.schedule.edits.correction import Corrector
from bigcp3d.work.change_labels import changed_boxes

MOST_VOX = 2**21
"""A cell whose box has more voxels is meshed from a coarser level."""
NM = 1000.0
"""Nanometres per micrometre."""

log = logging.getLogger(__name__)


def with_meshes(scene: Scene) -> Scene:
    """The scene with surfaces of the cells of its visible labels, at its time point; `InputError` without labels."""
    if not any(labels.visible for labels in scene.labels):
        raise InputError(f"{scene.title}: there are no labels whose cells could be shown; leave out --meshes")
    return replace(
        scene, labels=tuple(_with_meshes(labels, scene.time) if labels.visible else labels for labels in scene.labels)
    )


def _with_meshes(labels: Labels, time: int) -> Labels:
    if is_address(labels.info.path):
        raise InputError(f"{labels.info.path}: surfaces can only be made of labels on this machine; leave out --meshes")
    found = Corrector(labels.info.path, "")
    files = MeshFiles(partial(mesh_bytes, labels.info, found, time), lambda: len(found.changes.changes()))
    info = json.dumps({"@type": "neuroglancer_legacy_mesh"}).encode()
    return replace(labels, meshes=ServedGroup({"": files}, {"info": info}))


def mesh_bytes(labels: ImageInfo, found: Corrector, time: int, cell: int) -> bytes | None:
    """The part ``ID`` of a cell; None where no voxel has this id."""
    try:
        boxes = changed_boxes(found.target, found.boxes([cell], time)[cell])
    except InputError as error:
        log.warning("%s", error)
        return None
    level = next((level for level, box in enumerate(boxes) if box.size <= MOST_VOX), len(boxes) - 1)
    mask = read_label_box(found.target, level, boxes[level], time=time) == cell
    corners, triangles = mesh_surface(mask, boxes[level].start)
    place = labels.levels[level]
    at_nm = NM * (np.asarray(place.translation_um) + corners * np.asarray(place.scale_um or (1.0, 1.0, 1.0)))
    return b"".join(
        [
            np.uint32(len(corners)).astype("<u4").tobytes(),
            at_nm[:, ::-1].astype("<f4").tobytes(),
            triangles.astype("<u4").tobytes(),
        ]
    )


@dataclass(frozen=True)
class MeshFiles:
    """The objects of all cells, by their key.

    ``mesh`` gives the part of a cell. ``changes`` counts the changes of the labels: after each, surfaces are made anew.
    """

    mesh: Callable[[int], bytes | None]
    changes: Callable[[], int] = lambda: 0

    def size(self, key: str) -> int | None:
        """Bytes of an object; None where there is none."""
        found = self._find(key)
        return None if found is None else len(found)

    def read(self, key: str, start: int, stop: int) -> bytes:
        """Bytes ``start`` to ``stop`` of an object."""
        return (self._find(key) or b"")[start:stop]

    def _find(self, key: str) -> bytes | None:
        match = re.fullmatch(r"([1-9]\d{0,19})(:0)?", key)
        if match is None:
            return None
        if match[2]:
            return json.dumps({"fragments": [match[1]]}).encode()
        return _mesh(self, int(match[1]), self.changes())


@lru_cache(maxsize=64)
def _mesh(files: MeshFiles, cell: int, changes: int) -> bytes | None:
    """The part of a cell after so many changes of the labels."""
    return files.mesh(cell)
