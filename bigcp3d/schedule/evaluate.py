"""Evaluates labels against the truth: puts right what a stopped change left, converts a truth that is a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bigcp3d.edge.image.image import open_labels
from bigcp3d.option import takes
from bigcp3d.schedule.edits.correction import settle_labels
from bigcp3d.work.analyse.blocks_read import BlocksRead
from bigcp3d.work.analyse.evaluate import Evaluation, compare_labels
from bigcp3d.work.analyse.evaluate_settings import EvaluateSettings
from bigcp3d.work.convert.beside import convert_labels_beside


@takes(EvaluateSettings)
def evaluate(
    pred: str | Path,
    truth: str | Path,
    *,
    on_event: Callable[[BlocksRead], None] | None = None,
    **arguments: Any,
) -> Evaluation:
    """Compare labels with the truth; needs memory for one block and about 1 KB a cell.

    A truth in a file of another format, such as TIFF, is converted beside the file first, once.

    Parameters
    ----------
    **arguments
    on_event : callable, optional
        Receives the number of finished blocks and of all blocks, after each block.

    Returns
    -------
    evaluation : Evaluation
        A mapping from the names of numbers (`bigcp3d.pure.score.metrics`) to their values, with the list of cells.
        Cells of several time points count together.

    Raises
    ------
    InputError
        There are no such labels, their shapes, times or voxel sizes differ, or a block has no size.

    Examples
    --------
    >>> scores = bigcp3d.evaluate("tissue.zarr", "tissue.zarr", pred_name="cells", truth_name="truth")
    >>> scores["mean_dice"] > 0.7
    True
    """
    settings = EvaluateSettings(pred, truth, **arguments)
    settings.check()
    settle_labels(pred, settings.pred_name)
    scale = open_labels(pred, settings.pred_name).levels[0].scale_um
    settings = replace(settings, truth=convert_labels_beside(truth, scale))
    settle_labels(settings.truth, settings.truth_name)
    return compare_labels(settings, on_event)
