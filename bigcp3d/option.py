"""Options: each argument of a public function is described once, for Python, the command line and the manual.

The arguments are the fields of a frozen dataclass. The text below a field is its help::

    diameter_um: Annotated[float | None, Option("What to segment", "UM")] = None
    '''Expected cell diameter in micrometres.'''

`takes` makes the signature and the docstring of the Python function from the fields. `bigcp3d.face.options` makes the
options of the command.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from bigcp3d.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Option:
    """How an argument appears on the command line."""

    panel: str = ""
    """Heading on the help page."""
    metavar: str = ""
    """Word for the value on the help page."""
    flag: str | None = None
    """The option. Default: the argument's name without its unit. "" for an argument that only Python takes."""
    positional: bool = False
    """Whether the command takes the value without a flag."""
    many: bool = False
    """Whether the flag may be given several times."""
    switch: str | None = None
    """The value that the flag stands for, if the flag takes none."""
    asked: bool = True
    """Whether a plan lists the value among the settings that the user asked for. False if it says where the run takes
    place, may change when a run is resumed, or stands elsewhere in the plan."""
    help: str = ""
    """What the argument means. Default: the text below the field, which names other arguments as ``--radius``."""


@dataclass(frozen=True)
class Setting:
    """A field of a class of settings; ``default`` is `dataclasses.MISSING` where a value is required."""

    name: str
    type: Any
    default: Any
    option: Option

    @property
    def flag(self) -> str:
        """The option on the command line; empty where there is none."""
        if self.option.flag is not None:
            return self.option.flag
        return "--" + self.name.removesuffix("_um").removesuffix("_vox").replace("_", "-")

    @property
    def members(self) -> tuple[Any, ...]:
        """The types of its values, without None."""
        union = get_origin(self.type) in (Union, UnionType)
        return tuple(member for member in (get_args(self.type) if union else (self.type,)) if member is not NoneType)

    @property
    def choices(self) -> tuple[str, ...]:
        """Its possible values, where they are a few words."""
        return tuple(word for member in self.members if get_origin(member) is Literal for word in get_args(member))


def settings_of(owner: type) -> dict[str, Setting]:
    """The settings of a class by name, in their order. Its function ``adjust``, if any, changes inherited ones."""
    adjust: Callable[[Setting], Setting] = getattr(owner, "adjust", lambda each: each)
    types = _read_types(owner)
    texts = {name: text for each in reversed(owner.__mro__[:-1]) for name, text in _read_texts(each).items()}
    found = {}
    for each in fields(owner):
        kind, option = get_args(types[each.name])
        option = replace(option, help=option.help or texts.get(each.name, ""))
        found[each.name] = adjust(Setting(each.name, kind, each.default, option))
    return found


@cache
def _read_types(owner: type) -> dict[str, Any]:
    """Type and option of each field; the class's annotations are text, and making types of it takes 20 ms."""
    return get_type_hints(owner, include_extras=True)


@cache
def _read_texts(owner: type) -> dict[str, str]:
    """The text below each field of a class; nothing where its source is not installed."""
    try:
        tree = ast.parse(inspect.getsource(owner))
    except OSError:
        return {}
    return {
        ast.unparse(field.target): " ".join(ast.literal_eval(text.value).split())
        for field, text in pairwise(tree.body[0].body)  # type: ignore[attr-defined]
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }


def check_choices(settings: Any) -> None:
    """Raise an `InputError` for a word that is not among the choices of its setting."""
    for each in settings_of(type(settings)).values():
        value = getattr(settings, each.name)
        if each.choices and value is not None and value not in each.choices:
            raise InputError(f"{each.name} is {value!r}; use {' or '.join(map(repr, each.choices))}")


def takes(owner: type, only: Iterable[str] = ()) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Put the settings of a class into a function's signature, and into its docstring in place of ``**arguments``."""
    known = settings_of(owner)
    shown = [known[name] for name in only or known]

    def document(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        more = [_parameter(each) for each in shown if each.name not in signature.parameters]
        order = sorted([*own[:-1], *more, *own[-1:]], key=lambda parameter: parameter.kind)
        function.__signature__ = signature.replace(parameters=order)  # type: ignore[attr-defined]
        text = inspect.cleandoc(function.__doc__ or "")
        words = "\n".join(_describe(each, known) for each in shown)
        function.__doc__ = text.replace("**arguments", words)
        return function

    return document


def _parameter(each: Setting) -> inspect.Parameter:
    default = inspect.Parameter.empty if each.default is MISSING else each.default
    return inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=each.type)


def _describe(each: Setting, known: dict[str, Setting]) -> str:
    """The entry of a setting in a numpydoc docstring."""
    names = {other.flag: other.name for other in known.values()}
    text = re.sub(r"--[a-z][a-z-]*", lambda found: names.get(found[0], found[0]), each.option.help)
    kind = "{" + ", ".join(f'"{word}"' for word in each.choices) + "}" if each.choices else ""
    kind = kind or " or ".join(map(_describe_type, each.members))
    if each.default is None or each.default == ():
        kind += ", optional"
    elif each.default is not MISSING:
        kind += f", default {each.default!r}"
    return f"{each.name} : {kind}\n" + textwrap.indent(textwrap.fill(text, 112), "    ")


def _describe_type(kind: Any) -> str:
    """A type in words: "sequence of str or int", "tuple of int"."""
    inner = tuple(part for part in dict.fromkeys(get_args(kind)) if part is not Ellipsis)
    name = (get_origin(kind) or kind).__name__.lower()
    if name in ("union", "uniontype"):
        return " or ".join(map(_describe_type, inner))
    return f"{name} of {' or '.join(map(_describe_type, inner))}" if inner else str((get_origin(kind) or kind).__name__)
