"""Training batches, made in this process or ahead of time by worker processes, kept on disk or not.

Sample n depends on the recipe and n alone, and so does the list of samples that a step shows. So a resumed training
sees the same batches, and any number of workers gives the same batches in the same order. Nothing here imports torch: a
worker starts in a second and needs little memory.

With ``repeat`` R, a block of samples is shown R times, in another order and turned otherwise each time, before the next
block is: making a sample costs about as much as learning from it.
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
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.models.model_card import ModelCard
from bigcp3d.errors import BigCP3DError
from bigcp3d.pure.boxes import Vec3, vec3
from bigcp3d.pure.learn.augment import Sample, cut_border, degrade, turn
from bigcp3d.pure.learn.targets import heat_flow, size_weights, tanh_flow
from bigcp3d.pure.track.units import UNIT
from bigcp3d.work.train.sample_cache import BLOCK, Made, SampleCache
from bigcp3d.work.train.samples import Source

Float32 = NDArray[np.float32]

Batch = tuple[Float32, Float32, Float32]
"""Images (n, c, z, y, x), targets (n, 4, z, y, x), and weights of voxels (n, 1, z, y, x), 0 where the target is
unknown."""

AHEAD = 2
"""Batches that are made ahead, for each worker, where they are not kept on disk."""

ORDER, TURN = 1, 2
"""They keep random numbers of the order, and of turns, apart."""


@dataclass(frozen=True)
class Shown:
    """A sample that a step shows, for the ``times``-th time (from 0)."""

    number: int
    times: int


@dataclass(frozen=True)
class Recipe:
    """All that a batch depends on, apart from its number.

    ``sources`` are (weight, source); the targets follow from ``card``; ``balance`` is that of
    `bigcp3d.pure.learn.targets.size_weights`; a ``block`` of samples is shown ``repeat`` times.
    """

    sources: tuple[tuple[float, Source], ...]
    seed: int
    batch: int
    patch: Vec3
    card: ModelCard
    balance: float = 0.0
    augment: bool = True
    repeat: int = 1
    block: int = BLOCK

    def make_sample(self, number: int) -> Made:
        """Sample ``number``: a patch of a source that is drawn by its weight."""
        rng = np.random.default_rng([self.seed, number])
        shares = np.array([weight for weight, _ in self.sources])
        source = self.sources[rng.choice(len(self.sources), p=shares / shares.sum())][1]
        image, target, weights = make_sample(source, rng, self.patch, self.card, self.balance, augment=self.augment)
        return Made(image.astype(np.float16), np.rint(target * UNIT).astype(np.int8), weights.astype(np.float16))

    def samples_of(self, step: int) -> list[Shown]:
        """What the step shows, from 0."""
        return [self._shown(step * self.batch + k) for k in range(self.batch)]

    def _shown(self, number: int) -> Shown:
        """What is shown as the ``number``-th of all."""
        if self.repeat == 1:
            return Shown(number, 0)
        block, place = divmod(number, self.block * self.repeat)
        times, place = divmod(place, self.block)
        if times:
            place = int(np.random.default_rng([self.seed, block, times, ORDER]).permutation(self.block)[place])
        return Shown(block * self.block + place, times)

    def show(self, shown: Shown, made: Made) -> tuple[Float32, Float32, Float32]:
        """Image, target and weights in float32; turned otherwise each time."""
        image, target, weights = (part.astype(np.float32) for part in made)
        target /= np.float32(UNIT)
        if shown.times == 0:
            return image, target, weights
        return turn_targets(image, target, weights, np.random.default_rng([self.seed, shown.number, shown.times, TURN]))

    def make(self, step: int) -> Batch:
        """The batch of a step."""
        return self.stack([(shown, self.make_sample(shown.number)) for shown in self.samples_of(step)])

    def stack(self, samples: Iterable[tuple[Shown, Made]]) -> Batch:
        """A batch of samples."""
        parts = [self.show(shown, made) for shown, made in samples]
        image, target, weights = (np.stack(part) for part in zip(*parts, strict=True))
        return image, target, weights[:, None]


def turn_targets(
    image: Float32, target: Float32, weights: Float32, rng: np.random.Generator
) -> tuple[Float32, Float32, Float32]:
    """Flip each axis or not, and exchange y and x or not, in image, target and weights alike; the flow turns along."""
    flips = tuple(rng.random(3) < 0.5)
    exchanged = bool(rng.random() < 0.5) and weights.shape[1] == weights.shape[2]
    part = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    image, target, weights = image[(slice(None), *part)], target[(slice(None), *part)].copy(), weights[part]
    for axis, flip in enumerate(flips):
        if flip:
            target[1 + axis] *= -1
    if exchanged:
        image, target, weights = (np.swapaxes(array, -1, -2) for array in (image, target, weights))
        target = target[[0, 1, 3, 2]]
    return np.ascontiguousarray(image), np.ascontiguousarray(target), np.ascontiguousarray(weights)


def make_sample(
    source: Source, rng: np.random.Generator, patch: Vec3, card: ModelCard, balance: float = 0, *, augment: bool = True
) -> tuple[Float32, Float32, Float32]:
    """Image (c, z, y, x), target (4, z, y, x) and weights (z, y, x) of one patch.

    The sample is larger than the patch by one cell on each side. So a cell that the patch cuts mostly keeps the centre
    and the size of the whole cell. Larger cells, which the sample cuts too, are not known. The target is made after the
    sample was turned and cut, so its flow is right.
    The intensity of each channel is changed independently, since stains and cameras are independent.
    """
    margin = math.ceil(card.diameter_vox)
    sample = hide_cut_cells(source.draw(rng, vec3(p + 2 * margin for p in patch)))
    inner = (slice(margin, margin + patch[0]), slice(margin, margin + patch[1]), slice(margin, margin + patch[2]))
    if augment:
        turned = turn(sample, rng)
        cut = cut_border(turned, rng)
        sample = cut if cut.known[inner].any() else turned  # all reviewed cells may lie beyond the border
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


def hide_cut_cells(sample: Sample) -> Sample:
    """The sample without knowledge of the cells on its six faces: the centres of their whole cells are not known."""
    faces = (np.take(sample.labels, end, axis).ravel() for axis in range(3) for end in (0, -1))
    cut = np.unique(np.concatenate(list(faces)))
    return sample._replace(known=sample.known & ~np.isin(sample.labels, cut[cut != 0]))


def make_batches(
    recipe: Recipe, steps: Iterable[int], workers: int, cache: SampleCache | None = None
) -> Generator[Batch, None, None]:
    """Batches of the steps, in their order; samples are made ahead by ``workers`` processes (0: here, one by one).

    With a ``cache``, samples are taken from it where they are there, and kept in it where they are not; workers then
    run up to a block ahead. Close the generator (`contextlib.closing`) to end the workers. Workers are started with
    "spawn", since a fork of a process that runs torch may hang. So a script that trains with workers needs
    ``if __name__ == "__main__":``.
    """
    steps = list(steps)
    samples = _fetch_samples(recipe, chain.from_iterable(map(recipe.samples_of, steps)), workers, cache)
    with closing(samples):
        for _ in steps:
            yield recipe.stack(islice(samples, recipe.batch))


def fetch_sample(recipe: Recipe, number: int, cache: SampleCache | None) -> Made:
    """A sample from the cache, or a new one, which is kept there."""
    made = None if cache is None else cache.read(number)
    if made is None:
        made = recipe.make_sample(number)
        if cache is not None:
            cache.write(number, made)
    return made


def fill_cache(recipe: Recipe, steps: Iterable[int], workers: int, cache: SampleCache) -> int:
    """Make the samples of the steps that are not in the cache yet; their number, old ones included."""
    wanted = (shown for step in steps for shown in recipe.samples_of(step) if shown.times == 0)
    made = 0
    with closing(_make_ahead(recipe, wanted, workers, cache)) as ahead:
        for shown, _ in ahead:
            if not workers:
                fetch_sample(recipe, shown.number, cache)
            made += 1
    return made


def _fetch_samples(
    recipe: Recipe, wanted: Iterable[Shown], workers: int, cache: SampleCache | None
) -> Generator[tuple[Shown, Made], None, None]:
    """Each sample that is wanted, in the order given; removes old blocks from the cache."""
    block = -1
    with closing(_make_ahead(recipe, wanted, workers, cache)) as ahead:
        for shown, made in ahead:
            if cache is not None and shown.times == 0 and shown.number // cache.block != block:
                block = shown.number // cache.block
                cache.prune(block)
            yield shown, fetch_sample(recipe, shown.number, cache) if made is None else made


def _make_ahead(
    recipe: Recipe, wanted: Iterable[Shown], workers: int, cache: SampleCache | None
) -> Generator[tuple[Shown, Made | None], None, None]:
    """Each sample that is wanted, when workers have made it; None where it is in the cache, or there are no workers."""
    if not workers:
        yield from ((shown, None) for shown in wanted)
        return
    most = AHEAD * workers * recipe.batch if cache is None else recipe.block * recipe.repeat
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(recipe, cache))
    waiting: deque[tuple[Shown, Future[Made | None] | None]] = deque()
    asked = set[int]()
    try:
        for shown in wanted:
            new = cache is None or shown.number not in asked
            waiting.append((shown, pool.submit(_make, shown.number) if new else None))
            asked.add(shown.number)
            if len(waiting) > most:
                first, future = waiting.popleft()
                yield first, None if future is None else future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, None if future is None else future.result()
    except BrokenProcessPool as error:
        raise BigCP3DError(
            f"one of the {workers} workers that make samples has died. Each needs memory for the cells of all volumes "
            'and a few samples. In a script, put the training below `if __name__ == "__main__":`. Give fewer workers '
            "(0: none) and resume from the checkpoint"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_task: list[tuple[Recipe, SampleCache | None]] = []
"""A worker's recipe and cache, sent once and not with every number."""


def _start_worker(recipe: Recipe, cache: SampleCache | None) -> None:
    """Keep the recipe; leave Ctrl-C to the main process, and end when it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _task[:] = [(recipe, cache)]
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(number: int) -> Made | None:
    """Make a sample; with a cache it is left there."""
    recipe, cache = _task[0]
    if cache is not None and cache.path(number).exists():
        return None
    made = fetch_sample(recipe, number, cache)
    return made if cache is None else None
