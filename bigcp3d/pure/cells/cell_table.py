"""The columns of a table of cells, made from sums, in voxels and in micrometres.

Every column follows from one cell's integer sums, so it does not depend on blocks. Names end in their unit. Columns for
z have twins for y and x:

==========================================  =======================================================================
``label``                                   number of the cell
``volume_vox``, ``volume_um3``              volume
``centroid_z_vox``, ``centroid_z_um``       centre
``box_z_start_vox``, ``box_z_start_um``     first voxel of the box around the cell; position of its face
``box_z_stop_vox``, ``box_z_stop_um``       first voxel after the box; position of its face
``surface_um2``                             surface (`bigcp3d.pure.cells.surface`)
``equivalent_diameter_um``                  diameter of the ball of equal volume
``axis_major_um``                           length of the longest axis of the ellipsoid with equal second moments
``axis_middle_um``, ``axis_minor_um``       length of its middle and of its shortest axis
``elongation``                              longest axis over shortest; here voxels count as boxes, so that flat cells
                                            have a thickness
``touches_border``                          whether the cell touches the border of the image
``neighbours``                              number of cells with which it shares voxel faces
``mean_CHANNEL``, ``std_CHANNEL``           mean and standard deviation of each channel; NaN and
                                            infinities count as 0
==========================================  =======================================================================

Without a voxel size there are no columns in micrometres. Then surface, diameter and axes are in voxels:
``surface_vox2``, ``equivalent_diameter_vox``, ``axis_major_vox`` and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.cells.cell_sums import CellSums
from bigcp3d.pure.cells.light_sums import Digits, digits_of, mean_and_deviation
from bigcp3d.pure.cells.surface import surfaces
from bigcp3d.pure.group.objects import centroids, covariances

Columns = dict[str, NDArray[np.generic]]

AXES = ("z", "y", "x")
INT64_MAX = float(np.iinfo(np.int64).max)


@dataclass(frozen=True)
class Channel:
    """The name and the type of a channel."""

    name: str
    dtype: str

    @property
    def digits(self) -> Digits:
        """The digits of its sums."""
        return digits_of(self.dtype)


def tabulate_cells(
    cells: CellSums,
    shape: Vec3,
    channels: Sequence[Channel] = (),
    *,
    scale_um: Sequence[float] | None = None,
    translation_um: Sequence[float] = (0.0, 0.0, 0.0),
) -> Columns:
    """Tabulate the cells of a volume of ``shape``: columns by name, shape (n,), in the order of ids.

    ``channels`` are those whose digits are in ``cells.light``. ``scale_um`` is the size of a voxel, (z, y, x).
    ``translation_um`` is the position of the centre of the first voxel.

    The head of this module explains the columns. They equal `skimage.measure.regionprops_table` with ``spacing``, where
    that has the column.
    """
    sums = cells.sums
    centre, count = centroids(sums), sums.count
    columns: Columns = {"label": cells.ids, "volume_vox": count}
    columns |= {f"centroid_{axis}_vox": centre[:, i] for i, axis in enumerate(AXES)}
    for i, axis in enumerate(AXES):
        columns |= {f"box_{axis}_start_vox": sums.low[:, i], f"box_{axis}_stop_vox": sums.high[:, i]}
    unit, size = ("um", scale_um) if scale_um is not None else ("vox", (1.0, 1.0, 1.0))
    if scale_um is not None:
        columns |= _in_micrometres(cells, centre, scale_um, translation_um)
    volume = count * float(np.prod(size))
    columns[f"surface_{unit}2"] = surfaces(cells.exits, size)
    columns[f"equivalent_diameter_{unit}"] = (6 / np.pi * volume) ** (1 / 3)
    lengths, elongation = _principal_axes(cells, size)
    columns |= {f"axis_{name}_{unit}": lengths[:, k] for k, name in enumerate(("major", "middle", "minor"))}
    columns["elongation"] = elongation
    columns["touches_border"] = np.any((sums.low == 0) | (sums.high == np.asarray(shape)), axis=1)
    ends = np.concatenate([cells.contacts.pred, cells.contacts.truth])
    columns["neighbours"] = np.bincount(np.searchsorted(cells.ids, ends), minlength=len(count)).astype(np.int64)
    begin = 0
    for channel in channels:
        found = cells.light[:, begin : begin + len(channel.digits)]
        columns[f"mean_{channel.name}"], columns[f"std_{channel.name}"] = mean_and_deviation(
            found, count, channel.digits
        )
        begin += len(channel.digits)
    return columns


def _in_micrometres(
    cells: CellSums, centre: NDArray[np.float64], scale: Sequence[float], translation: Sequence[float]
) -> Columns:
    """Volume, centroid and box: voxel i spans ``scale * (i -+ 1/2) + translation``."""
    columns: Columns = {"volume_um3": cells.sums.count * float(np.prod(scale))}
    for i, axis in enumerate(AXES):
        columns[f"centroid_{axis}_um"] = centre[:, i] * scale[i] + translation[i]
    for i, axis in enumerate(AXES):
        for end, edge in (("start", cells.sums.low), ("stop", cells.sums.high)):
            columns[f"box_{axis}_{end}_um"] = (edge[:, i] - 0.5) * scale[i] + translation[i]
    return columns


def _principal_axes(cells: CellSums, scale: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Full lengths of the three axes, longest first, shape (n, 3), and elongations; NaN where sums overflowed.

    Lengths take voxels as points, as scikit-image does. Elongations take them as boxes, so they are finite.
    """
    if not len(cells.ids):
        return np.empty((0, 3)), np.empty(0)
    size = np.asarray(scale, np.float64)
    boxes = covariances(cells.sums) * np.outer(size, size)
    thick, points = np.linalg.eigvalsh(boxes), np.linalg.eigvalsh(boxes - np.diag(size**2 / 12))
    lengths = 2 * np.sqrt(5 * np.maximum(points[:, ::-1], 0))
    elongation = np.sqrt(thick[:, 2] / thick[:, 0])
    lost = cells.sums.count * cells.sums.high.max(axis=1).astype(np.float64) ** 2 > INT64_MAX
    lengths[lost], elongation[lost] = np.nan, np.nan
    return lengths, elongation
