"""A first guess of the cell diameter, with a model on this machine; the cheap step before a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bigcp3d.edge.image.image import open_image
from bigcp3d.option import takes
from bigcp3d.schedule.planning.channels import choose_channels
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
    """Guess the diameter of an image's cells: the one at which the model finds cells of that diameter.

    Of a time series, the first time point is looked at.

    Parameters
    ----------
    **arguments
    on_event : callable, optional
        Told of each diameter that was tried.

    Returns
    -------
    Estimate
        ``diameter`` with its spread, in micrometres, or in voxels where the image does not say its voxel size.

    Raises
    ------
    InputError, ModelError
        The image or model cannot be used, or there is no such diameter.
    """
    request = Request(source, model=model, channel=channel, scale_um=scale_um)
    request.check()
    card, channels = choose_channels(open_image(source), request)
    import torch

    from bigcp3d.edge.models.model_families import load_network
    from bigcp3d.pure.predict.run_network import fast_precision, fix_arithmetic
    from bigcp3d.work.train.validate import segment_array

    fix_arithmetic()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = fast_precision(device) if card.precision == "auto" else card.precision
    network = load_network(model, device)[0].to(getattr(torch, precision))
    return guess(
        source,
        card,
        lambda crop: segment_array(crop, network, card),
        channels=channels,
        scale_um=scale_um,
        on_event=on_event,
    )
