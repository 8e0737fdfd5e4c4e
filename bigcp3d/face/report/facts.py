"""All that a report tells, gathered from labels, their attributes and their cells, before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bigcp3d.edge.image.diagnose import open_node
from bigcp3d.edge.image.image import open_labels
from bigcp3d.edge.image.metadata import own_part
from bigcp3d.edge.image.placement import as_told
from bigcp3d.edge.labels.label_source import source_image
from bigcp3d.face.report.views import Source
from bigcp3d.pure.boxes import Box, vec3
from bigcp3d.pure.cells.cell_summary import CellSummary, Parts, summarise_cells
from bigcp3d.work.analyse.report_cells import cells_of_labels
from bigcp3d.work.analyse.report_seams import Seams, look_at_seams
from bigcp3d.work.run.run_costs import RunEffort, effort_of


@dataclass(frozen=True, eq=False)
class Facts:
    """What a report tells.

    Attributes
    ----------
    name : str
        Of the labels.
    source : Source
        Labels and image.
    time : int
        Time point that is shown.
    times : tuple of int
        Those that were segmented.
    run : dict
        What the labels' attributes say of their run; empty where bigcp3d did not make them.
    digest : CellSummary
    seams : list of (Seams, Seams)
        For each axis that has any: at seams, and halfway.
    effort : RunEffort or None
    """

    name: str
    source: Source
    time: int
    times: tuple[int, ...]
    run: Mapping[str, Any]
    digest: CellSummary
    seams: list[tuple[Seams, Seams]]
    effort: RunEffort | None

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Of the run."""
        found = self.run.get("parameters")
        return found if isinstance(found, Mapping) else {}

    @property
    def voxel_um3(self) -> float | None:
        """Cubic micrometres of a voxel of the labels."""
        scale = self.source.labels.levels[0].scale_um
        return None if scale is None else scale[0] * scale[1] * scale[2]


def gather(store: str | Path, name: str, parts: Parts | None = None, image: str | None = None) -> Facts:
    """Gather all facts.

    Parameters
    ----------
    store : str or Path
        An image with labels, a store of labels, or one labels group.
    name : str
        Of the labels.
    parts : callable, optional
        Gives the rows of all cells, where a run has them; else the labels are measured.
    image : str, optional
        Of the labels; default the one that they name.

    Raises
    ------
    InputError
        There are no such labels, or they cannot be read.
    """
    labels = as_told(open_labels(store, name))
    run = own_part(open_node(labels.path).attrs.asdict())
    parameters = run.get("parameters") or {}
    times = tuple(parameters.get("times") or range(labels.times))
    roi = parameters.get("roi")
    wanted = Box(vec3(roi["start"]), vec3(roi["stop"])) if roi else Box.of_shape(labels.levels[0].shape)
    if parts is None:
        rows = list(cells_of_labels(labels, wanted))

        def parts_of_labels() -> Any:
            return iter(rows)

        parts = parts_of_labels
    effort, seams = effort_of(run), []
    if effort is not None:
        grid = {"shape": vec3(parameters["shape"]), "factors": tuple(parameters["label_factors"])}
        seams = look_at_seams(labels, parts, block=effort.block, **grid)
    channels = parameters.get("channels") or [0]
    source = Source.of(labels, source_image(labels, image), int(channels[0]), wanted)
    return Facts(
        name=Path(labels.path).name,
        source=source,
        time=times[len(times) // 2],
        times=times,
        run=run,
        digest=summarise_cells(parts),
        seams=seams,
        effort=effort,
    )
