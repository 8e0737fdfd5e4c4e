"""Runs the code of a page of documentation, as a reader would who copies it block by block.

A page is Markdown. Its ``bash`` and ``python`` blocks run in order in one folder. Hidden comments say more:

    <!-- first          commands that run before the next block, such as those that make its data
    bigcp3d simulate embryo.zarr
    -->
    <!-- not run: needs a cluster -->      the next block does not run
    <!-- slow -->                          the next block runs only with the tests marked slow
    <!-- run with: 500 -> 2 -->            the next block runs with 2 in the place of 500
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from bigcp3d.face.cli import app

REASONS = {
    *("needs a cluster", "needs a GPU", "needs a bucket", "needs a browser", "needs a window", "needs Cellpose"),
    *("needs a container", "needs Nextflow or Snakemake", "installs packages", "takes minutes"),
    "run by a test of its own",
}
LANGUAGES = {"bash", "python", "text", "yaml", "json"}
PIECE = re.compile(
    r"^<!-- (?P<note>.+?)-->$|^ *(?P<fence>```+)(?P<language>[^\n]*)\n(?P<code>.*?)^ *(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
IN_PROCESS = re.compile(
    r"(?:printf '(?P<keys>\w*)' \| )?(?P<command>bigcp3d(?: [^|&;<>$`*]*)?)(?:> (?P<file>[\w.]+))?(?: #.*)?"
)


@dataclass(frozen=True)
class Block:
    """Code of a page: its line, its language, and why it does not run (empty if it does)."""

    line: int
    language: str
    code: str
    not_run: str = ""
    slow: bool = False


def read_blocks(text: str) -> Iterator[Block]:
    """The blocks of a page in order; a ``ValueError`` names what is not understood."""
    note = ""
    for piece in PIECE.finditer(text):
        line = text.count("\n", 0, piece.start()) + 1
        if piece["note"]:
            if piece["note"].startswith("first\n"):
                yield Block(line, "bash", piece["note"].removeprefix("first\n"))
            elif re.match(r"not run: |slow |run with: ", piece["note"]):
                note = piece["note"].strip()
            continue
        language = piece["language"].strip()
        if language.startswith("{"):
            continue
        if language not in LANGUAGES:
            raise ValueError(f"line {line}: the language is {language!r}; use one of {', '.join(sorted(LANGUAGES))}")
        if language in ("bash", "python"):
            yield _noted(Block(line, language, piece["code"]), note)
        note = ""


def _noted(block: Block, note: str) -> Block:
    kind, _, rest = note.partition(": ")
    if kind == "not run":
        if rest not in REASONS:
            raise ValueError(f"line {block.line}: {rest!r} is no reason; use one of {', '.join(sorted(REASONS))}")
        return Block(block.line, block.language, block.code, not_run=rest)
    code = block.code
    if kind == "run with":
        old, _, new = rest.partition(" -> ")
        if old not in code:
            raise ValueError(f"line {block.line}: {old!r} is not in the block")
        code = code.replace(old, new)
    return Block(block.line, block.language, code, slow=kind == "slow")


def run_page(page: Path, *, slow: bool = False) -> int:
    """Run the blocks of a page in the current folder; how many ran. An ``AssertionError`` shows the one that failed."""
    names: dict[str, object] = {"__name__": "__main__"}
    count = 0
    for block in read_blocks(page.read_text()):
        if block.not_run or (block.slow and not slow):
            continue
        place = f"{page.name}, line {block.line}"
        if block.language == "python":
            exec(compile(block.code, place, "exec"), names)
        else:
            for command in _commands(block.code):
                _run(command, place)
        count += 1
    return count


def _commands(code: str) -> list[str]:
    """The commands of a block: a line each, without comments, lines that end in a backslash joined."""
    lines = code.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def _run(command: str, place: str) -> None:
    """One command: of bigcp3d in this process, which saves the seconds of an import; others by bash."""
    if ours := IN_PROCESS.fullmatch(command):
        words = shlex.split(ours["command"], comments=True)
        done = CliRunner().invoke(app, words[1:], input=ours["keys"], prog_name="bigcp3d")
        assert done.exit_code == 0, f"{place}: {command}\n{done.output}\n{done.exception!r}"
        if ours["file"]:
            Path(ours["file"]).write_text(done.stdout)
        return
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    shell = subprocess.run(
        ["bash", "-ec", command], capture_output=True, text=True, check=False, env={**os.environ, "PATH": path}
    )
    assert shell.returncode == 0, f"{place}: {command}\n{shell.stdout}{shell.stderr}"
