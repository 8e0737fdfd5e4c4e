"""Makes the links and pictures of a page absolute, so that they work where the page stands alone (PyPI)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

REPOSITORY = "bigcp3d/bigcp3d/"
PICTURES = f"https://raw.githubusercontent.com/{REPOSITORY}main/"
FILES = f"https://github.com/{REPOSITORY}blob/main/"
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)\s]+)\)|(src|href)=\"(?![a-z]+:|#)([^\"]+)\"")
PICTURE = re.compile(r"\.(png|jpe?g|gif|svg|webp)$")


def make_absolute(page: str) -> str:
    """The page with absolute addresses; those that are absolute, and links within the page, stay."""

    def replace(match: re.Match[str]) -> str:
        target = match[1] or match[3]
        address = (PICTURES if PICTURE.search(target) else FILES) + target
        return f"]({address})" if match[1] else f'{match[2]}="{address}"'

    return LINK.sub(replace, page)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        Path(name).write_text(make_absolute(Path(name).read_text(encoding="utf-8")), encoding="utf-8")
