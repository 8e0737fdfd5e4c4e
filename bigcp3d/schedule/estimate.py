"""Guesses the cell diameter of an image with a model, on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bigcp3d.edge.image.image import open_image
from bigcp3d.option import takes
from bigcp3d.schedule.clusters.this_machine import device_here
from bigcp3d.schedule.planning.channels import choose_channels
from bigcp3d.schedule.planning.find_image import with_image
from bigcp3d.schedule.planning.make_plan import choose_precision
from bigcp3d.schedule.planning.request import Request
from bigcp3d.work.analyse.estimate_diameter import DiameterTrial, Estimate
from bigcp3d.work.analyse.estimate_diameter import estimate_diameter as guess


@takes(Request, only=("source", "model", "channel", "scale_um"))
def estimate_diameter(
    source: str | Path,
    *,
    model: str = Request.model,
    channel: int | str | Sequence[int | str] | None = Request.channel,
    scale_um: tuple[float, float, float] | None = Request.scale_um,
    on_event: Callable[[DiameterTrial], None] | None = None,
) -> Estimate:
    """Guess the diameter of cells in the first time point: the one at which the model finds cells of that diameter.

    Parameters
    ----------
    **arguments
    on_event : callable, optional
        Receives each diameter that was tried.

    Returns
    -------
    Estimate
        ``diameter`` with its spread, in micrometres, or in voxels if the voxel size is unknown.

    Raises
    ------
    InputError, ModelError
        If the image or the model cannot be used, or there is no such diameter.
    """
    request = with_image(Request(source, model=model, channel=channel, scale_um=scale_um))
    card, channels = choose_channels(open_image(request.source), request)
    import torch

    from bigcp3d.edge.models.model_families import load_network
    from bigcp3d.pure.predict.run_network import fix_arithmetic
    from bigcp3d.work.train.validate import segment_array

    fix_arithmetic()
    precision = choose_precision(request, card)
    network = load_network(model, device_here())[0].to(getattr(torch, precision))
    return guess(
        request.source,
        card,
        lambda crop: segment_array(crop, network, card),
        channels=channels,
        scale_um=scale_um,
        on_event=on_event,
    )
