"""Objects: properties of whole cells, filters on them, and final ids, all before a label is written.

Everything follows from `Sums`, exact integers over whole cells, so no filter depends on blocks. Ids are 1..n in the
raster order of each object's first voxel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bigcp3d.pure.group.filters import Filters
from bigcp3d.pure.track.sinks import PRODUCTS, Sums
from bigcp3d.pure.track.units import UNIT


def centroids(sums: Sums) -> NDArray[np.float64]:
    """Mean z, y, x of each object, shape (n, 3), in voxels of the working grid."""
    return sums.coordinates / np.maximum(sums.count, 1)[:, None]


def covariances(sums: Sums) -> NDArray[np.float64]:
    """Covariance of each object's coordinates, shape (n, 3, 3), in voxels squared.

    Coordinates are first shifted to the bounding box, in integers, since float64 would cancel. A voxel counts as a cube
    (1/12 on the diagonal), so that flat objects have some thickness.
    """
    count = np.maximum(sums.count, 1)
    shift = np.where(sums.count[:, None] > 0, sums.low, 0)
    coo = sums.coordinates - shift * count[:, None]
    matrix = np.empty((len(count), 3, 3))
    for i, (a, b) in enumerate(PRODUCTS):
        product = sums.products[:, i] - shift[:, a] * sums.coordinates[:, b] - shift[:, b] * coo[:, a]
        centred = product / count - (coo[:, a] / count) * (coo[:, b] / count)
        matrix[:, a, b] = matrix[:, b, a] = centred + (1 / 12 if a == b else 0)
    return matrix


def elongations(sums: Sums, voxel: Sequence[float] = (1.0, 1.0, 1.0)) -> NDArray[np.float64]:
    """Longest over shortest principal axis of each object, shape (n,); 1 for a ball or a cube.

    ``voxel`` is the size of a voxel (z, y, x), in any unit.
    """
    eigen = np.linalg.eigvalsh(covariances(sums) * np.outer(voxel, voxel)) if len(sums) else np.empty((0, 3))
    return np.sqrt(eigen[:, 2] / np.maximum(eigen[:, 0], 1e-12))


def ellipsoid_fill(sums: Sums) -> NDArray[np.float64]:
    """Volume of each object over that of the ellipsoid with equal second moments, shape (n,).

    1 for an ellipsoid, 0.89 for a box, less for two cells in one, branches and hollows; the same for any voxel shape.
    """
    spread = np.sqrt(np.maximum(np.linalg.det(covariances(sums)), 1e-30)) if len(sums) else np.empty(0)
    return sums.count / (4 / 3 * np.pi * 5**1.5 * spread)


def mean_foreground(sums: Sums) -> NDArray[np.float64]:
    """Mean predicted foreground of each object, shape (n,), 0 to 1."""
    return sums.foreground / np.maximum(sums.count, 1) / UNIT


def flow_errors(squares: NDArray[np.int64], sums: Sums) -> NDArray[np.float64]:
    """Mean squared flow error of each object, from sums of `squared_flow_error`."""
    return squares / np.maximum(sums.count, 1) / UNIT**2


def keep_objects(
    sums: Sums,
    filters: Filters,
    squares: NDArray[np.int64] | None = None,
    *,
    voxel: Sequence[float] = (1.0, 1.0, 1.0),
    among: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Which of n objects pass the filters, bool (n,), and how many each filter removed.

    An object counts for the first filter that it fails. ``squares``, int64 (n,), are the sums of `squared_flow_error`,
    needed where ``max_flow_error`` is set. ``voxel`` is for `elongations`. Objects that are not ``among`` are not kept,
    and no filter counts them.
    """
    tests: list[tuple[str, NDArray[np.bool_]]] = []
    if filters.min_volume_vox is not None:
        tests.append(("too small", sums.count >= filters.min_volume_vox))
    if filters.max_volume_vox is not None:
        tests.append(("too large", sums.count <= filters.max_volume_vox))
    if filters.min_foreground is not None:
        tests.append(("weak foreground", mean_foreground(sums) >= filters.min_foreground))
    if filters.max_elongation is not None:
        tests.append(("too long", elongations(sums, voxel) <= filters.max_elongation))
    if filters.max_flow_error is not None:
        if squares is None:
            raise ValueError("the flow-error filter needs the sums of the check pass")
        tests.append(("flow error", flow_errors(squares, sums) <= filters.max_flow_error))
    keep = (sums.count > 0) & (True if among is None else among)
    removed = {}
    for name, passes in tests:
        removed[name] = int(np.count_nonzero(keep & ~passes))
        keep = keep & passes
    return keep, removed


def dense_ids(sums: Sums, keep: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Final id of each object: 1..n over those kept, by their first voxel in raster order; 0 for the others."""
    ids = np.zeros(len(sums), np.int64)
    kept = np.flatnonzero(keep)
    ids[kept[np.argsort(sums.first[kept])]] = np.arange(1, len(kept) + 1)
    return ids


def squared_flow_error(
    flow: NDArray[np.int8],
    index: NDArray[np.int64],
    centre: NDArray[np.float64],
    voxel: NDArray[np.int64],
    *,
    representation: str,
    scale_vox: float,
) -> NDArray[np.int64]:
    """Squared difference between the predicted flow and the straight flow to the object's centre, summed by object.

    ``flow`` (3, n) is the stored flow of n voxels, which lie at ``voxel`` (n, 3) in the volume and belong to the
    objects ``index`` (n,); ``centre`` (m, 3) are the objects' centroids. The result, int64 (m,), is in units of
    (1/127)^2, so that sums over blocks are exact.

    ``representation`` is what the model predicts. For "tanh" the straight flow is the training target, with
    ``scale_vox``. For "heat" it is the unit vector to the centroid: close to a compact cell's diffusion, and known
    though no block holds the whole cell.
    """
    way = centre[index] - voxel
    if representation == "tanh":
        target = np.tanh(way / scale_vox)
    else:
        target = way / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-12)
    difference = flow.T.astype(np.int64) - np.rint(target * UNIT).astype(np.int64)
    squares = np.zeros(len(centre), np.int64)
    np.add.at(squares, index, np.einsum("ij,ij->i", difference, difference))
    return squares
