"""A colour for each pass, the same wherever passes are shown."""

from __future__ import annotations

PASS_COLOURS = {
    "normalise": "#999999", "predict": "#4477aa", "merge": "#66aadd", "track": "#228833", "cluster": "#ccbb44",
    "join": "#bb8833", "check": "#aa7744", "vote": "#997766", "resolve": "#ee6677", "label": "#aa3377",
    "pyramid": "#ee99cc",
}  # fmt: skip
OTHER_COLOUR = "#777777"


def colour_of(name: str) -> str:
    """Colour of a pass, as ``#rrggbb``."""
    return PASS_COLOURS.get(name, OTHER_COLOUR)
