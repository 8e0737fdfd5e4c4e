"""A preview of settings on a region: what `bigcp3d segment --roi` would find there with them.

Each diameter and model is predicted once; the other settings are tried on the maps in memory (`bigcp3d.plan_sweep`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.labels.labels_to_update import target_of
from bigcp3d.face.napari.layers import info_of, placed_like, time_in_view
from bigcp3d.face.view.napari_view import MARK
from bigcp3d.pure.boxes import Box
from bigcp3d.schedule.planning.recorded_settings import find_settings
from bigcp3d.schedule.sweep import KnownMaps, plan_sweep

NAME = "preview"
FIELDS = ("diameter_um", "foreground", "closing_vox", "model")
KINDS = (int, float, str)


@dataclass(frozen=True)
class Settings:
    """The settings of the sliders; None is what `bigcp3d segment` does without the option."""

    diameter_um: float | str | None = None
    foreground: float = 0.5
    closing_vox: int | None = None
    model: str | None = None


def paths_of(image: Any, labels: Any | None) -> tuple[str, str | None]:
    """The paths of the image and the labels of a preview."""
    return image.metadata[MARK], None if labels is None else labels.metadata[MARK]


class Preview:
    """Labels of regions of an image, found with changing settings.

    Parameters
    ----------
    image : napari.layers.Image
        The image of a store.
    labels : napari.layers.Labels, optional
        Labels of the image. Settings that have no slider are those of these labels.
    """

    def __init__(self, image: Any, labels: Any | None = None) -> None:
        self.image, self.info = image, info_of(image)
        self.paths = paths_of(image, labels)
        self._known: KnownMaps = {}
        self._target = None
        self.start = Settings()
        if labels is not None and (found := info_of(labels)).levels[0].shape == self.info.levels[0].shape:
            self._target = target_of(found)
            known = find_settings(self.info, self._target, {}).arguments
            self.start = Settings(**{name: known[name] for name in FIELDS if isinstance(known.get(name), KINDS)})

    def find(self, box: Box, settings: Settings, *, time: int = 0) -> NDArray[np.uint32]:
        """Labels of a box of level 0, uint32 (z, y, x): those that `bigcp3d segment --roi` would write there.

        Cells inside the box are those of a run on the whole volume. `InputError`, `ModelError` for settings that cannot
        be, or a box that is too large.
        """
        arguments = {name: value for name in FIELDS if (value := getattr(settings, name)) is not None}
        if self._target is not None:
            arguments = find_settings(self.info, self._target, arguments).arguments
            arguments |= {"output": self._target.group, "name": self._target.name}  # where maps may be kept
        arguments |= {"roi": tuple(zip(box.start, box.stop, strict=True)), "time": time}
        values = {"foreground": [arguments.pop("foreground", 0.5)]}
        return next(plan_sweep(self.info.path, values, **arguments).run(known=self._known)).labels

    def show(self, viewer: Any, box: Box, labels: NDArray[np.uint32]) -> None:
        """Show labels of a box in the layer "preview". The layers that are chosen stay so."""
        if NAME in viewer.layers:
            viewer.layers.remove(NAME)
        chosen = set(viewer.layers.selection)
        viewer.add_labels(labels, name=NAME, opacity=0.5, **placed_like(self.image, box))
        viewer.layers.selection = chosen

    def time(self, viewer: Any) -> int:
        """The time point that is looked at."""
        return time_in_view(viewer, self.image)
