"""Samples on disk, made once: by the training itself, by its workers, or ahead of it on another machine.

A sample is one file of about half a megabyte, which is complete or absent::

    CACHE / key of all that samples depend on / block / number.zst      a block: `BLOCK` numbers
                                              / samples.json            what they depend on, to read

A training that shows the same samples finds them under the same key, so nothing is mixed up. A damaged file is made
again. A sample that was read is the one that was made, bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numcodecs.zstd import compress, decompress
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from bigcp3d.edge.stores.atomic_files import write_bytes
from bigcp3d.errors import TargetError

log = logging.getLogger(__name__)

BLOCK = 1024
"""Samples that are shown again and again (`--repeat`) before the next ones are; also the files of a folder."""

FORMAT = 5
"""Rises with each change of the samples that a seed gives."""


class Made(NamedTuple):
    """A sample in few bytes, as it is kept."""

    image: NDArray[np.float16]
    """Shape (c, z, y, x)."""
    target: NDArray[np.int8]
    """Shape (4, z, y, x): foreground and flow, each times 127."""
    weights: NDArray[np.float16]
    """Shape (z, y, x)."""


@dataclass(frozen=True)
class SampleCache:
    """The samples of one recipe in a folder; ``most_gb`` is what those that were shown may take."""

    folder: Path
    most_gb: float
    block: int = BLOCK

    def path(self, number: int) -> Path:
        """File of a sample."""
        return self.folder / f"{number // self.block:06d}" / f"{number:09d}.zst"

    def read(self, number: int) -> Made | None:
        """A sample, or None where it is not there, or damaged."""
        path = self.path(number)
        try:
            return Made(**load(bytes(decompress(path.read_bytes()))))
        except FileNotFoundError:
            return None
        except (RuntimeError, TypeError, SafetensorError) as error:
            log.warning("%s: the sample is damaged (%s); it is made again", path, error)
            return None

    def write(self, number: int, made: Made) -> None:
        """Keep a sample; `TargetError` where that fails."""
        packed = compress(save(made._asdict()), 1)
        try:
            write_bytes(self.path(number), packed)
        except OSError as error:
            raise TargetError(
                f"{self.path(number)}: the sample cannot be written ({error}); make space on the disk, or give a "
                "smaller --cache-gb, and resume"
            ) from error

    def prune(self, block: int) -> None:
        """Remove the oldest blocks before ``block`` while they take more than ``most_gb``."""
        sizes = {folder: _size(folder) for folder in sorted(self.folder.glob("[0-9]*")) if int(folder.name) < block}
        for folder, size in list(sizes.items()):
            if sum(sizes.values()) <= self.most_gb * 1e9:
                return
            shutil.rmtree(folder, ignore_errors=True)
            del sizes[folder]
            log.info("%s: removed, %.1f GB", folder, size / 1e9)


def _size(folder: Path) -> int:
    """Bytes of the samples in a folder, some of which another training may remove meanwhile."""
    size = 0
    for file in folder.glob("*.zst"):
        with suppress(FileNotFoundError):
            size += file.stat().st_size
    return size


def open_cache(root: Path, most_gb: float, depends_on: dict[str, Any]) -> SampleCache:
    """The cache of samples that depend on this (JSON); its folder is made if it is not there."""
    text = json.dumps({"format": FORMAT, **depends_on}, sort_keys=True, indent=1)
    folder = root / hashlib.sha256(text.encode()).hexdigest()[:16]
    try:
        write_bytes(folder / "samples.json", text.encode())
    except OSError as error:
        raise TargetError(f"{root}: samples cannot be kept here ({error}); give another folder: --cache DIR") from error
    return SampleCache(folder, most_gb)
