"""Maps for runs that need not predict them, and a disk that is small, for runs that fill it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def kept_maps(tissue_maps) -> Path:
    """Maps that a run kept, in blocks of `CUT`; never to be changed."""
    return tissue_maps / "t0" / "maps"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of half a megabyte, and how to make it larger."""
    mount = tmp_path / "disk"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", mount], capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield mount, lambda: subprocess.run(["mount", "-o", "remount,size=64m", mount], check=True)
    subprocess.run(["umount", "-l", mount], check=False)
