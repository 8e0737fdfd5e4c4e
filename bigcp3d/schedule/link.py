"""Links cells of neighbouring time points, and numbers the tracks that they form.

Cells are measured and their common voxels counted block by block, so memory holds positions and overlaps of cells,
never voxels. The links follow from those numbers alone (`bigcp3d.pure.lineage.links`), whatever the blocks and workers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.cell_tables.label_table import table_path
from bigcp3d.edge.image.image import ImageInfo, open_labels
from bigcp3d.edge.labels.check_target import check_target
from bigcp3d.edge.labels.label_plan import LabelTarget, check_name
from bigcp3d.edge.lineage.geff_file import check_lineage, write_lineage
from bigcp3d.edge.stores.places import same_place
from bigcp3d.errors import InputError
from bigcp3d.option import takes
from bigcp3d.pure.lineage.links import Links, PlacedCells, link_cells, shared_voxels
from bigcp3d.pure.lineage.tracks import number_tracks
from bigcp3d.pure.score.overlaps import Overlaps, add_overlaps
from bigcp3d.schedule.check_table import check_output
from bigcp3d.schedule.edits.correction import settle_labels
from bigcp3d.schedule.measure import MeasuredCells, measure_with
from bigcp3d.schedule.over_blocks import machines_of, over_blocks
from bigcp3d.schedule.planning.link_request import LinkRequest
from bigcp3d.version import __version__
from bigcp3d.work.analyse.blocks_read import BlocksRead
from bigcp3d.work.analyse.link import share_voxels
from bigcp3d.work.analyse.measure import plan_measurement
from bigcp3d.work.track_labels import plan_track_labels, write_track_labels


@dataclass(frozen=True, eq=False)
class Lineage:
    """Cells over time.

    Attributes
    ----------
    cells : MeasuredCells
        Columns of the cells of all time points, with ``track`` and ``parent_track`` (0: none).
    edges : ndarray of int64, shape (n, 2)
        Rows of ``cells``: a cell, and what became of it at the next time point.
    tracks : int
        Number of tracks.
    divisions : int
        Number of tracks that end in two daughters.
    path : Path
        The GEFF group that was written.
    """

    cells: MeasuredCells
    edges: NDArray[np.int64]
    tracks: int
    divisions: int
    path: Path


@takes(LinkRequest)
def link(
    store: str | Path,
    name: str = LinkRequest.name,
    *,
    on_event: Callable[[BlocksRead], None] | None = None,
    **arguments: Any,
) -> Lineage:
    """Link the cells of neighbouring time points, and write the lineage as GEFF beside the labels.

    Parameters
    ----------
    **arguments
    on_event : callable, optional
        Receives the number of finished blocks and of all blocks, after each block that was measured.

    Returns
    -------
    Lineage

    Raises
    ------
    InputError, TargetError
        There is one time point, a package of ``bigcp3d[lineage]`` is missing, or a result exists already.
    """
    request = LinkRequest(store, name, **arguments)
    labels = open_labels(request.store, request.name)
    if labels.times < 2:
        raise InputError(f"{labels.path}: these labels have one time point; linking needs two or more")
    settle_labels(labels.path, "")
    path = check_lineage(labels, overwrite=request.overwrite)
    target = _check(labels, request)
    what = plan_measurement(request.store, request.name, channel=None if request.table else ())
    with over_blocks(what, machines_of(request)) as compute:
        cells = measure_with(compute, what, on_event=on_event)
        shared = [add_overlaps(compute(share_voxels, time)) for time in range(what.labels.times - 1)]
    return _write(request, path, target, cells, shared)


def _check(labels: ImageInfo, request: LinkRequest) -> LabelTarget | None:
    """Refuse what cannot be linked or written; the plan of the labels of tracks, if they are asked for."""
    if request.max_distance_um is not None and not request.max_distance_um > 0:
        raise InputError(f"--max-distance is {request.max_distance_um}; give a number above 0")
    if request.table is not None:
        check_output(request.table, lambda: table_path(labels), overwrite=request.overwrite)
    if request.track_labels is None:
        return None
    check_name(request.track_labels)
    target = plan_track_labels(labels, request.track_labels)
    if same_place(str(target.path), labels.path):
        raise InputError(f"--track-labels {request.track_labels}: these are the labels to link; give another name")
    check_target(target, overwrite=request.overwrite)
    return target


def _write(
    request: LinkRequest, path: Path, target: LabelTarget | None, cells: MeasuredCells, shared: list[Overlaps]
) -> Lineage:
    """Link, and write all that was asked for; the lineage comes last."""
    labels, columns = cells.what.labels, cells.columns
    placed = _place(cells)
    diameter = _diameter(cells)
    reach = request.max_distance_um or diameter
    links = [
        link_cells(one, other, both, diameter=diameter, reach=reach, divisions=not request.no_divisions)
        for (one, other), both in zip(pairwise(placed), shared, strict=True)
    ]
    tracks = number_tracks([len(one) for one in placed], links)
    columns["track"] = np.concatenate(tracks.of_cells)
    columns["parent_track"] = tracks.parents[columns["track"]]
    edges = _as_rows(placed, links)
    if target is not None:
        ids = [one.ids for one in placed]
        write_track_labels(labels, target, ids, tracks, overwrite=request.overwrite)
    if request.table is not None:
        cells.write(request.table)
    found = [np.empty(0, np.int64)]
    for (one, other), joined, both in zip(pairwise(placed), links, shared, strict=True):
        if len(joined):  # scipy gives no array where no pair is asked for
            found.append(np.asarray(shared_voxels(one, other, both)[joined[:, 0], joined[:, 1]]))
    nodes = {"t": columns["time"], **dict(zip("zyx", _centres(cells).T, strict=True))}
    nodes |= {name: columns[name] for name in ("label", "track", "volume_vox")}
    about = {"version": __version__, "diameter": diameter, "max_distance": reach, "divisions": not request.no_divisions}
    write_lineage(path, labels, nodes, edges, {"shared_vox": np.concatenate(found)}, about)
    return Lineage(cells, edges, len(tracks), tracks.divisions, path)


def _centres(cells: MeasuredCells) -> NDArray[np.float64]:
    """Centres of all cells, (n, 3), in micrometres, or in voxels without a scale."""
    unit = _unit(cells)
    return np.stack([cells.columns[f"centroid_{axis}_{unit}"].astype(float) for axis in "zyx"], axis=1)


def _unit(cells: MeasuredCells) -> str:
    return "vox" if cells.what.labels.levels[0].scale_um is None else "um"


def _diameter(cells: MeasuredCells) -> float:
    """The median diameter of all cells, in the unit of their centres; 1 where there is no cell."""
    diameters = cells.columns[f"equivalent_diameter_{_unit(cells)}"].astype(float)
    return float(np.median(diameters)) if len(diameters) else 1.0


def _place(cells: MeasuredCells) -> list[PlacedCells]:
    """The cells of each time point, by id."""
    columns, centres = cells.columns, _centres(cells)
    placed = []
    for time in range(cells.what.labels.times):
        here = columns["time"] == time
        placed.append(PlacedCells(columns["label"][here], centres[here], columns["volume_vox"][here]))
    return placed


def _as_rows(placed: list[PlacedCells], links: list[Links]) -> NDArray[np.int64]:
    """Links as rows of the table of all time points."""
    begin = np.cumsum([0, *(len(one) for one in placed)])
    return np.concatenate([joined + begin[t : t + 2] for t, joined in enumerate(links)])
