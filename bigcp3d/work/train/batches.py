"""Training batches, made in this process or ahead of time by worker processes.

Batch n depends on the recipe and n alone. So a resumed training sees the same batches, and any number of workers gives
the same batches in the same order. Nothing here imports torch: a worker starts in a second and needs little memory.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.errors import BigCP3DError
from bigcp3d.pure.boxes import Vec3, vec3
from bigcp3d.pure.learn.augment import cut_border, degrade, turn
from bigcp3d.pure.learn.targets import heat_flow, size_weights, tanh_flow
from bigcp3d.work.train.samples import Source

Float32 = NDArray[np.float32]

Batch = tuple[Float32, Float32, Float32]
"""Images (n, c, z, y, x), targets (n, 4, z, y, x), and weights of voxels (n, 1, z, y, x), 0 where the target is
unknown."""

AHEAD = 2
"""Batches that are made ahead, for each worker."""


@dataclass(frozen=True)
class Recipe:
    """All that a batch depends on, apart from its number.

    ``sources`` are (weight, source); the targets follow from ``card``; ``balance`` is that of
    `bigcp3d.pure.learn.targets.size_weights`.
    """

    sources: tuple[tuple[float, Source], ...]
    seed: int
    batch: int
    patch: Vec3
    card: ModelCard
    balance: float = 0.0
    augment: bool = True

    def make(self, number: int) -> Batch:
        """Batch ``number``: patches from sources that are drawn by their weights."""
        rng = np.random.default_rng([self.seed, number])
        shares = np.array([weight for weight, _ in self.sources])
        chosen = rng.choice(len(self.sources), size=self.batch, p=shares / shares.sum())
        kind = (rng, self.patch, self.card, self.balance)
        parts = [make_sample(self.sources[i][1], *kind, augment=self.augment) for i in chosen]
        image, target, weights = (np.stack(part) for part in zip(*parts, strict=True))
        return image, target, weights[:, None]


def make_sample(
    source: Source, rng: np.random.Generator, patch: Vec3, card: ModelCard, balance: float = 0, *, augment: bool = True
) -> tuple[Float32, Float32, Float32]:
    """Image (c, z, y, x), target (4, z, y, x) and weights (z, y, x) of one patch.

    The sample is larger than the patch by one cell on each side. So a cell that the patch cuts keeps the centre and the
    size of the whole cell. The target is made after the sample was turned and cut, so its flow is right.
    The intensity of each channel is changed independently, since stains and cameras are independent.
    """
    margin = math.ceil(card.diameter_vox)
    sample = source.draw(rng, vec3(p + 2 * margin for p in patch))
    if augment:
        sample = cut_border(turn(sample, rng), rng)
    inner = (slice(margin, margin + patch[0]), slice(margin, margin + patch[1]), slice(margin, margin + patch[2]))
    if card.representation == "tanh":
        flow = tanh_flow(sample.labels, card.scale_vox, inner)
    else:
        flow = heat_flow(sample.labels)[(slice(None), *inner)]
    image = sample.image[(slice(None), *inner)]
    if augment:
        image = np.stack([degrade(channel, rng, card.clip) for channel in image])
    target = np.concatenate([(sample.labels[inner] > 0)[None].astype(np.float32), flow])
    weights = size_weights(sample.labels, card.diameter_vox, balance, inner)
    return image, target, weights * sample.known[inner]


def make_batches(recipe: Recipe, numbers: Iterable[int], workers: int) -> Generator[Batch, None, None]:
    """Batches in the order of their numbers, made ahead by ``workers`` processes (0: here, one by one).

    Close the generator (`contextlib.closing`) to end the workers. Workers are started with "spawn", since a fork of a
    process that runs torch may hang. So a script that trains with workers needs ``if __name__ == "__main__":``.
    """
    if not workers:
        yield from map(recipe.make, numbers)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(recipe,))
    try:
        waiting: deque[Future[Batch]] = deque()
        for number in numbers:
            waiting.append(pool.submit(_make, number))
            if len(waiting) > AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise BigCP3DError(
            f"one of the {workers} workers that make samples has died. Each needs memory for the cells of all volumes "
            'and a few samples, and a script that trains needs `if __name__ == "__main__":`. Give fewer workers '
            "(0: none) and resume from the checkpoint"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_recipe: list[Recipe] = []
"""A worker's recipe, sent once and not with every number."""


def _start_worker(recipe: Recipe) -> None:
    """Keep the recipe; leave Ctrl-C to the main process, and end when it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _recipe[:] = [recipe]
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(number: int) -> Batch:
    return _recipe[0].make(number)
