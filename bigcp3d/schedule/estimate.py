"""Estimates the cell diameter of an image, and which shipped model suits it, on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.image.odd_voxels import warn_of_odd_voxels
from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.edge.models.model_families import load_card
from bigcp3d.edge.models.model_files import shipped_models
from bigcp3d.errors import InputError
from bigcp3d.option import takes
from bigcp3d.pure.cells.found import Found
from bigcp3d.pure.cells.plausibility import doubt, is_hopeless
from bigcp3d.schedule.clusters.this_machine import device_here
from bigcp3d.schedule.planning.channels import choose_channels
from bigcp3d.schedule.planning.few_planes import warn_of_few_planes
from bigcp3d.schedule.planning.find_image import with_image
from bigcp3d.schedule.planning.grids import choose_grids
from bigcp3d.schedule.planning.make_plan import choose_precision, refuse_labels
from bigcp3d.schedule.planning.request import ESTIMATED_FROM, Request
from bigcp3d.work.analyse import estimate_diameter as work
from bigcp3d.work.analyse.choose_model import choose_model
from bigcp3d.work.analyse.crop_cells import find_cells
from bigcp3d.work.analyse.diameter_sample import open_sample
from bigcp3d.work.analyse.estimate_diameter import DiameterTrial, Estimate, FindCells, NoCellsError
from bigcp3d.work.cores_and_memory import default_workers


@dataclass(frozen=True, eq=False)
class Suited:
    """A model, the diameter that suits it, and why it was taken.

    Attributes
    ----------
    model : str
        As it was given, or the one that was chosen.
    chosen : str
        Why, in words; empty where the model was given.
    estimate : Estimate or None
        None where a diameter was given.
    """

    model: str
    chosen: str
    estimate: Estimate | None


@takes(Request, only=ESTIMATED_FROM)
def estimate_diameter(
    source: str | Path,
    *,
    model: str | None = Request.model,
    channel: int | str | Sequence[int | str] | None = Request.channel,
    scale_um: tuple[float, float, float] | None = Request.scale_um,
    prepare: str | None = Request.prepare,
    on_event: Callable[[DiameterTrial], None] | None = None,
) -> Estimate:
    """Estimate the diameter of cells in the first time point: the one at which the model's flow fits its cells best.

    Parameters
    ----------
    **arguments
    on_event : callable, optional
        Receives each diameter that was tried.

    Returns
    -------
    Estimate
        ``diameter`` with its spread and doubts, in micrometres, or in voxels if the voxel size is unknown; and the
        ``model``.

    Raises
    ------
    InputError, ModelError
        If the image or the model cannot be used, no cells are found, or no model is clearly better.
    """
    request = with_image(Request(source, model=model, channel=channel, scale_um=scale_um, prepare=prepare))
    request.check()
    image = open_image(request.source)
    refuse_labels(image)
    warn_of_odd_voxels(image, request.scale_um)
    warn_of_few_planes(image, request.model)
    suited = find_suited(request, on_event=on_event)
    if suited.estimate is None:
        raise AssertionError("no diameter was given, so one was estimated")
    return replace(suited.estimate, model=suited.model, chosen=suited.chosen)


def find_suited(request: Request, *, time: int = 0, on_event: Callable[[DiameterTrial], None] | None = None) -> Suited:
    """Estimate what a request leaves open: the diameter, the model (one of the shipped ones), or both.

    Raises an `InputError` if no cells are found, or if no model is clearly better than the other.
    """
    request.check()
    if request.model is not None:
        return Suited(str(request.model), "", _check_look(request, _estimate(request, time, on_event)))
    estimates, looks = dict[str, Estimate](), dict[str, Found]()
    for name in shipped_models():
        named = replace(request, model=name)
        if request.has_diameter:
            looks[name] = _try_given(named, time).look
            continue
        try:
            estimates[name] = _estimate(named, time, on_event)
            looks[name] = estimates[name].best.look
        except NoCellsError:
            looks[name] = Found(1.0, 0, 0, 0, 0)
    taken = choose_model(looks)
    if taken is None:
        raise InputError(_describe_doubt(request, estimates, looks))
    chosen = "; ".join(f"{name}: {look}" for name, look in looks.items())
    return Suited(taken, chosen, _with_doubt(estimates[taken]) if taken in estimates else None)


def _check_look(request: Request, estimate: Estimate) -> Estimate:
    """The estimate, with a doubt where its cells look odd; an `InputError` where they are surely none.

    What cells of other model families look like is not known well enough.
    """
    if not load_card(str(request.model)).is_own:
        return estimate
    if is_hopeless(look := estimate.best.look):
        raise InputError(
            f"{request.source}: model {request.model} finds no plausible cells of any diameter (at best {look}); look "
            "at the channel in a viewer, check --channel and --model, or give --diameter"
        )
    return _with_doubt(estimate)


def _with_doubt(estimate: Estimate) -> Estimate:
    """The estimate, with a doubt where its cells look odd."""
    look = estimate.best.look
    odd = (f"the model may not know this stain ({look})",) if doubt(look)[0] else ()
    return replace(estimate, doubts=odd + estimate.doubts)


def _estimate(request: Request, time: int, on_event: Callable[[DiameterTrial], None] | None) -> Estimate:
    with _model(request) as (card, channels, find):
        return work.estimate_diameter(
            request.source,
            card,
            find,
            channels=channels,
            time=time,
            scale_um=request.scale_um,
            prepare=request.prepare,
            threads=default_workers(),
            on_event=on_event,
        )


def _try_given(request: Request, time: int) -> DiameterTrial:
    """The cells that the model finds at the diameter that was given."""
    with _model(request) as (card, channels, find):
        what = {"channels": channels, "time": time, "scale_um": request.scale_um, "prepare": request.prepare}
        sample = open_sample(request.source, card, **what)  # type: ignore[arg-type]
        return work.try_factors(sample, find, choose_grids(sample.image, request, card).image_factors)


@contextmanager
def _model(request: Request) -> Iterator[tuple[ModelCard, tuple[int, ...], FindCells]]:
    """The card, the image's channels, and the network as a function of a crop; one thread computes one crop."""
    card, channels = choose_channels(open_image(request.source), request)
    import torch

    from bigcp3d.edge.models.model_families import load_network
    from bigcp3d.pure.predict.run_network import to_precision

    precision, threads = choose_precision(request, card), torch.get_num_threads()
    try:
        network = to_precision(load_network(str(request.model), device_here())[0], precision)
        yield card, channels, partial(find_cells, network=network, card=card)
    finally:
        torch.set_num_threads(threads)


def _describe_doubt(request: Request, estimates: dict[str, Estimate], looks: dict[str, Found]) -> str:
    """That no model is clearly better, what each found, and the commands that name one."""
    give = "--model" if request.has_diameter else "--model and --diameter"
    lines = [f"it is not clear which model suits this stain; give {give}. On a few crops they found:"]
    for name, look in looks.items():
        diameter = ""
        if (found := estimates.get(name)) is not None:
            diameter = f" {'--diameter' if found.in_um else '--diameter-voxels'} {found.diameter:.3g}"
        lines.append(f"  {look}: --model {name}{diameter}")
    return f"{request.source}: " + "\n".join([*lines, "Look at the channel in a viewer, and check --channel"])
