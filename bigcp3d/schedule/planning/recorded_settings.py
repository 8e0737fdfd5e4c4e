"""Finds the settings of an update: those of the labels, unless the user says others.

Labels record the settings that decide them, as Python's arguments, and what followed from these (`Plan`). Both are
compared: where the same arguments now lead to other values, cells would change that no setting changed, so it is an
error. Hence a new setting needs no word here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bigcp3d.edge.image.image import ImageInfo
from bigcp3d.edge.image.metadata import own_part
from bigcp3d.edge.image.open_node import read_attributes
from bigcp3d.edge.labels.label_plan import LabelTarget
from bigcp3d.edge.models.model_families import model_hash
from bigcp3d.errors import InputError, ModelError
from bigcp3d.option import settings_of
from bigcp3d.schedule.planning.asked import as_argument, with_unit
from bigcp3d.schedule.planning.make_plan import make_plan
from bigcp3d.schedule.planning.request import AS_IS, Request
from bigcp3d.version import __version__
from bigcp3d.work.plan.name_differences import name_differences
from bigcp3d.work.plan.plan import RESULT

INSTEAD_OF = {
    "diameter_um": ("diameter_vox",),
    "diameter_vox": ("diameter_um",),
    "model": ("maps", "precision"),
    "maps": ("precision", "prepare"),
}
"""Settings of the labels that do not count where the user says another."""

_DEFAULTS = {each.name: each.default for each in settings_of(Request).values()}

PLACES = ("roi", "maps", "itemsize", "label_factors")
"""Values of a plan that say where it works, and on kept maps or not."""


@dataclass(frozen=True)
class UpdateSettings:
    """The settings that decide the labels of an update, as arguments; and those that differ from the labels'."""

    arguments: dict[str, Any]
    changed: dict[str, Any]
    notes: list[str]

    def with_more(self, found: Mapping[str, Any]) -> UpdateSettings:
        """The same with settings that were estimated, which the labels do not record."""
        known = {name: value for name, value in found.items() if value is not None}
        return UpdateSettings({**self.arguments, **known}, {**self.changed, **known}, self.notes)


def find_settings(image: ImageInfo, target: LabelTarget, said: Mapping[str, Any]) -> UpdateSettings:
    """The settings of the labels ``target``, with those that the user said in their place.

    Of labels by another program, the model and the diameter stay open if the user does not say them. Raises an
    `InputError` if labels of an earlier bigcp3d do not record them, or if recorded settings now mean something else; a
    `ModelError` if the recorded model is gone or has changed.
    """
    made = own_part(read_attributes(target.path))
    recorded: dict[str, Any] | None = made.get("arguments")
    said = {name: as_argument(name, value) for name, value in said.items()}
    if recorded is None:
        return UpdateSettings(_tuples(said), said, _settings_unknown(target, made, said))
    if made.get("model_sha256"):
        recorded = {**recorded, "precision": made["parameters"]["precision"]}
        recorded = _check_model(target, made["model_sha256"], recorded, said)
    then = {name: recorded.get(name, _DEFAULTS[name]) for name in said}
    changed = {name: value for name, value in said.items() if _plain(name, value) != _plain(name, then[name])}
    if not {"maps", "model"} & set(changed):
        _check_meaning(image, target, made, recorded, said)
    dropped = {old for name in changed for old in INSTEAD_OF.get(name, ())}
    kept = {name: value for name, value in recorded.items() if name not in dropped}
    return UpdateSettings(_as_python({**kept, **said}), changed, describe_changes(changed, recorded))


def describe_changes(changed: Mapping[str, Any], recorded: Mapping[str, Any]) -> list[str]:
    """A line for each setting that differs: "foreground 0.4 (the labels were made with 0.5)"."""
    lines = []
    for name, value in changed.items():
        others = [old for old in INSTEAD_OF.get(name, ()) if old.startswith("diameter") and old in recorded]
        old = others[0] if others else name
        before = recorded.get(old, _DEFAULTS[old])
        words, now = with_unit(name, value)
        then = "without one" if before is None else f"with {with_unit(old, before)[1]}"
        lines.append(f"{words} {now} (the labels were made {then})")
    return lines


def _plain(name: str, value: Any) -> Any:
    """A setting in one form: a channel may be 1, "1" or ["1"]."""
    return [str(one) for one in (value if isinstance(value, list) else [value])] if name == "channel" else value


def _as_python(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded settings as arguments. Without a diameter, the image was taken as it is."""
    if not {"diameter_um", "diameter_vox"} & set(arguments):
        arguments = {**arguments, "diameter_um": AS_IS}
    return _tuples(arguments)


def _tuples(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}


def _settings_unknown(target: LabelTarget, made: Mapping[str, Any], said: Mapping[str, Any]) -> list[str]:
    """A line about labels that say nothing of a run, as those of other programs: what is not said is estimated.

    Refuses labels of an earlier bigcp3d, which record their settings in words only: an estimate may contradict them.
    """
    if ("model" in said or "maps" in said) and ("diameter_um" in said or "diameter_vox" in said):
        return []
    asked = made.get("asked")
    if not asked:
        maker = "these labels do not say how they were made" if made else "bigcp3d did not make these labels"
        return [f"{maker}, so settings that you do not give are those of a new run"]
    words = ", ".join(f"{name} {value}" for name, value in asked.items() if name != "command")
    raise InputError(
        f"{target.path}: an earlier bigcp3d made these labels ({words}), and they do not record the exact settings; "
        "give --model and --diameter (as-is: not resampled), and each other setting that differs from its default"
    )


def _check_model(target: LabelTarget, sha256: str, recorded: dict[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded settings, with the model under the name of now. Refuses a model that is gone or another one."""
    if "model" in said:
        if model_hash(said["model"]) == sha256:
            return {**recorded, "model": said["model"]}
        other = f"another file of that name, sha256 {sha256[:12]}"
        return {**recorded, "model": other} if said["model"] == recorded["model"] else recorded
    model = recorded["model"]
    try:
        now = model_hash(model)
    except ModelError as error:
        raise ModelError(
            f"{target.path}: the labels were made with the model {model}, which cannot be read ({error}); give the "
            "path where it is now with --model, or another model"
        ) from error
    if now != sha256:
        raise ModelError(
            f"{target.path}: the labels were made with the model {model}, whose file has changed since (sha256 "
            f"{sha256[:12]} then, {now[:12]} now); give the earlier file with --model PATH, or give --model {model} to "
            "use the changed file"
        )
    return recorded


def _check_meaning(
    image: ImageInfo, target: LabelTarget, made: Mapping[str, Any], recorded: dict[str, Any], said: Mapping[str, Any]
) -> None:
    """Refuse if the recorded settings now lead to other values than those with which the labels were made."""
    plan = make_plan(Request(image.path, output=target.group, name=target.name, **_as_python(recorded)))
    sections = plan.sections(RESULT)
    now = {name: value for section in sections.values() for name, value in section.items()}
    now["filters"], then = sections["filters"], made["parameters"]
    ours = [name for name in then if name in now and name not in PLACES and not (name == "times" and "time" in said)]
    if differing := name_differences({name: then[name] for name in ours}, {name: now[name] for name in ours}):
        raise InputError(
            f"{target.path}: the settings with which these labels were made now mean something else "
            f"({'; '.join(differing)}): the image has changed, or the version of bigcp3d ({made.get('version')} then, "
            f"{__version__} now); give --model and all other settings again"
        )
