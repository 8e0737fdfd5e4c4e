"""Names of Cellpose's own models, by the version that has them: for messages, where that version is not installed."""

from __future__ import annotations

import re

NAMES_OF = {
    4: re.compile(r"cpsam(_v\d)?|cpdino(-vitb)?"),
    3: re.compile(r"cyto[23]?|nuclei|\w+_cp3|neurips_\w+"),
}


def version_with(name: str) -> int | None:
    """The major version of Cellpose that has a model of this name; None if none has."""
    return next((version for version, names in NAMES_OF.items() if names.fullmatch(name)), None)
