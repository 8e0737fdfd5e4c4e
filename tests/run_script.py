"""Runs a Python script in this process, as ``python script`` would, without the seconds that a new process imports."""

from __future__ import annotations

import io
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch


def run_script(script: Path, *arguments: object) -> CompletedProcess[str]:
    """Exit code, output and errors; warnings are errors, as in all tests."""
    words, out, errors, code = [str(script), *map(str, arguments)], io.StringIO(), io.StringIO(), 0
    with (
        patch.object(sys, "argv", words),
        patch.object(sys, "path", [str(script.parent), *sys.path]),
        redirect_stdout(out),
        redirect_stderr(errors),
    ):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
            if isinstance(end.code, str):
                errors.write(f"{end.code}\n")
    return CompletedProcess(words, code, out.getvalue(), errors.getvalue())
