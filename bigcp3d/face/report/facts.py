"""Gathers what a report shows, from labels, their attributes and their cells. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bigcp3d.edge.image.image import ImageInfo, open_labels
from bigcp3d.edge.image.level_geometry import with_told_scale
from bigcp3d.edge.image.metadata import own_part
from bigcp3d.edge.image.open_node import read_attributes
from bigcp3d.edge.image.same_grid import at_level, check_same_grid
from bigcp3d.edge.labels.image_and_labels import matching_level, source_image
from bigcp3d.face.report.views import Shown
from bigcp3d.pure.boxes import Box, vec3
from bigcp3d.pure.cells.cell_summary import CellSummary, Parts, summarise_cells
from bigcp3d.work.analyse.report_cells import cells_of_labels
from bigcp3d.work.run.run_costs import RunEffort, effort_of


@dataclass(frozen=True, eq=False)
class Facts:
    """What a report shows: slices of one ``time``, and cells of all ``times``.

    ``run`` is what the attributes of the labels say about their run; empty where bigcp3d did not make them. The run
    labelled ``run_vox`` voxels. Somebody may have added cells elsewhere since.
    """

    source: Shown
    time: int
    times: tuple[int, ...]
    run: Mapping[str, Any]
    run_vox: int
    digest: CellSummary
    effort: RunEffort | None

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters of the run."""
        found = self.run.get("parameters")
        return found if isinstance(found, Mapping) else {}

    @property
    def voxel_um3(self) -> float | None:
        """Volume of a voxel of the labels in cubic micrometres, where its size is known."""
        scale = self.source.labels.levels[0].scale_um
        return None if scale is None else scale[0] * scale[1] * scale[2]


def _check_image(labels: ImageInfo, image: ImageInfo | None) -> None:
    """Warn where image and labels are of other voxels, since the report shows one on the other."""
    level = None if image is None else matching_level(labels, image)
    if image is not None and level is not None:
        check_same_grid(labels, at_level(image, level), belong=True)


def gather(store: str | Path, name: str, parts: Parts | None = None, image: str | None = None) -> Facts:
    """Gather all facts. The arguments are those of `bigcp3d.face.report.write.write_report`.

    Cells that come from a run lie in its region and its time points. Others may lie anywhere.
    """
    stored = open_labels(store, name)
    labels, source = with_told_scale(stored), source_image(stored, image)
    run = own_part(read_attributes(labels.path))
    parameters = run.get("parameters") or {}
    times = tuple(parameters.get("times") or range(labels.times))
    whole, roi = Box.of_shape(labels.levels[0].shape), parameters.get("roi")
    wanted = Box(vec3(roi["start"]), vec3(roi["stop"])) if roi else whole
    run_vox, shown = wanted.size * len(times), times
    if parts is None:
        _check_image(stored, source)
        rows = list(cells_of_labels(labels))
        parts = partial(iter, rows)
        times, wanted = tuple(range(labels.times)), whole
        shown = tuple(time for time in times if len(rows[time])) or times
    channels = parameters.get("channels") or [0]
    return Facts(
        source=Shown(labels, source, int(channels[0]), wanted),
        time=shown[len(shown) // 2],
        times=times,
        run=run,
        run_vox=run_vox,
        digest=summarise_cells(parts),
        effort=effort_of(run),
    )
