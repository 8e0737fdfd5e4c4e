"""Finds out the model and the diameter that a request leaves open, from the image, before the run is planned.

What was estimated is recorded in the plan and in the labels' attributes, with the question that it answers: the image,
the channels, and what the user did say. A run that asks the same question again takes that answer. So an unfinished run
goes on without a second estimate, kept maps are found at once, and finished labels are recognised.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from pydantic import ValidationError

from bigcp3d.edge.image.image import open_image
from bigcp3d.edge.image.metadata import own_part
from bigcp3d.edge.image.odd_voxels import warn_of_odd_voxels
from bigcp3d.edge.image.open_node import read_attributes
from bigcp3d.edge.image.preparation import parse_preparation
from bigcp3d.errors import InputError
from bigcp3d.schedule.planning.few_planes import warn_of_few_planes
from bigcp3d.schedule.planning.find_kept_maps import kept_folders
from bigcp3d.schedule.planning.make_plan import make_plan
from bigcp3d.schedule.planning.request import AS_IS, Request
from bigcp3d.schedule.running.events import Estimated, EstimateStarted, Noted, Observer
from bigcp3d.work.plan.plan import Plan, read_plan
from bigcp3d.work.plan.sections import Guess
from bigcp3d.work.run.work_dir import WorkDir

GIVEN_MAPS_MODEL = "membrane"
"""The model whose diameter and filters are the defaults where maps are given and no model is named."""


def complete_request(
    request: Request, observe: Observer | None = None, check: Callable[[Plan], None] = lambda sketch: None
) -> tuple[Request, Guess | None]:
    """The request with a model and a diameter, and what was estimated; None where the user said both.

    Raises an `InputError` where the image answers neither clearly, and every error of a plan first. With ``maps`` the
    image is taken as it is: no network runs. ``check`` is called before a long estimate, with a plan whose model and
    diameter mean nothing, and raises what the caller would refuse afterwards.
    """
    request.check()
    image = open_image(request.source)
    warn_of_odd_voxels(image, request.scale_um)
    if request.maps is not None:
        return replace(request, model=request.model or GIVEN_MAPS_MODEL), None
    warn_of_few_planes(image, request.model)
    if request.model is not None and request.has_diameter:
        return request, None
    sketch = _sketch(request)
    question = _question(request, sketch)
    guess = _answered(sketch, question, request)
    if guess is None:
        check(sketch)
        guess = _estimate(request, sketch, question, observe or (lambda event: None))
    return _filled(request, guess), guess


def _sketch(request: Request) -> Plan:
    """The plan without the estimate: for errors that need none, and for the places of results."""
    diameter = None if request.diameter_vox is not None else request.diameter_um or AS_IS
    model = request.model or GIVEN_MAPS_MODEL
    return make_plan(replace(request, diameter_um=diameter, model=model, start="image"))


def _question(request: Request, sketch: Plan) -> dict[str, Any]:
    """All that the estimate follows from, but for the machine."""
    prepared = [asdict(each) for each in parse_preparation(request.prepare)]
    return {
        "source": sketch.sections(["source"])["source"]["image"],
        "channels": list(sketch.source.channels),
        "time": sketch.where.times[0],
        "scale_um": request.scale_um and list(request.scale_um),
        "model": sketch.prediction.model_hash if request.model is not None else None,
        "diameter": request.diameter_um or request.diameter_vox,
        "level": request.level,
        "version": sketch.version,
        **({"prepare": prepared} if prepared else {}),
    }


def _answered(sketch: Plan, question: dict[str, Any], request: Request) -> Guess | None:
    """The answer to this question that an unfinished run, kept maps or finished labels hold."""
    target, guesses = sketch.output.target, []
    work = WorkDir.of(sketch)
    for folder in (work.root, *kept_folders(sketch)):
        with suppress(InputError):
            guesses.append(read_plan(folder).guess)
    if target.path.exists() and not request.overwrite:
        with suppress(InputError, ValidationError):
            guesses.append(Guess.model_validate(own_part(read_attributes(str(target.path))).get("estimated")))
    return next((guess for guess in guesses if guess is not None and guess.question == question), None)


def _estimate(request: Request, sketch: Plan, question: dict[str, Any], observe: Observer) -> Guess:
    """Ask the image."""
    from bigcp3d.schedule.estimate import find_suited

    missing = {"model": request.model is None, "diameter": not request.has_diameter}
    observe(EstimateStarted(" and ".join(f"the {name}" for name, open_ in missing.items() if open_)))
    suited = find_suited(request, time=sketch.where.times[0], on_event=lambda trial: observe(Noted(str(trial))))
    numbers: dict[str, Any] = {"diameter": None, "low": 0.0, "high": 0.0, "cells": 0, "in_um": True}
    if (found := suited.estimate) is not None:
        numbers = {name: float(f"{getattr(found, name):.3g}") for name in ("diameter", "low", "high")}
        numbers |= {"cells": found.cells, "in_um": found.in_um, "doubts": found.doubts}
    guess = Guess(question=question, model=suited.model, chosen=suited.chosen, **numbers)
    observe(Estimated(guess))
    return guess


def _filled(request: Request, guess: Guess) -> Request:
    """The request with what was estimated."""
    filled = replace(request, model=request.model or guess.model)
    if guess.diameter is None:
        return filled
    return replace(filled, **{"diameter_um" if guess.in_um else "diameter_vox": guess.diameter})  # type: ignore[arg-type]
