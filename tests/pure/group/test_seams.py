"""Seams against brute force over all pairs of voxels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.group import seams
from bigcp3d.pure.group.seams import join_components, seam_pairs

quick = settings(deadline=None, max_examples=40)
sides = st.tuples(*[st.integers(1, 6)] * 3)
seeds = st.integers(0, 2**32 - 1)


def scene(shape: Vec3, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Some voxels in any order, each of one of a few components."""
    rng = np.random.default_rng(seed)
    voxel = rng.permutation(np.argwhere(rng.random(shape) < 0.3))
    return voxel, rng.integers(0, 6, len(voxel))


def touching_pairs(voxel: NDArray[np.int64], component: NDArray[np.int64]) -> set[frozenset[int]]:
    pairs = itertools.combinations(range(len(voxel)), 2)
    near = (p for p in pairs if np.abs(voxel[p[0]] - voxel[p[1]]).max() <= 1)
    return {frozenset((int(component[i]), int(component[j]))) for i, j in near if component[i] != component[j]}


def unordered(pairs: NDArray[np.int64]) -> set[frozenset[int]]:
    return {frozenset(p) for p in pairs.tolist()}


@quick
@given(sides, seeds)
def test_pairs_are_those_of_brute_force(shape: Vec3, seed: int) -> None:
    voxel, component = scene(shape, seed)
    pairs = seam_pairs(voxel, component, shape)
    assert pairs.shape[1] == 2
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    assert unordered(pairs) == touching_pairs(voxel, component)


@pytest.mark.parametrize("way", [d for d in itertools.product((-1, 0, 1), repeat=3) if d != (0, 0, 0)])
def test_every_one_of_the_26_neighbours_joins(way: Vec3) -> None:
    voxel = np.array([[1, 1, 1], [1 + way[0], 1 + way[1], 1 + way[2]]])
    assert unordered(seam_pairs(voxel, np.array([4, 9]), (3, 3, 3))) == {frozenset((4, 9))}


def test_control_without_diagonals_pairs_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    voxel, component = scene((6, 6, 6), 0)
    monkeypatch.setattr(seams, "HALF_NEIGHBOURS", ((0, 0, 1), (0, 1, 0), (1, 0, 0)))
    assert unordered(seam_pairs(voxel, component, (6, 6, 6))) < touching_pairs(voxel, component)


def test_the_end_of_a_row_does_not_touch_the_start_of_the_next() -> None:
    shape: Vec3 = (4, 4, 4)
    for a, b in [((0, 0, 3), (0, 1, 0)), ((0, 3, 3), (1, 0, 0)), ((1, 3, 0), (2, 0, 0)), ((0, 0, 3), (0, 2, 0))]:
        assert len(seam_pairs(np.array([a, b]), np.array([0, 1]), shape)) == 0


def test_large_volumes_do_not_overflow() -> None:
    shape: Vec3 = (200_000, 200_000, 200_000)
    corner = np.array([[199_999, 199_999, 199_999], [199_998, 199_998, 199_998], [0, 0, 0]])
    assert unordered(seam_pairs(corner, np.array([5, 3, 1]), shape)) == {frozenset((3, 5))}


def test_no_voxels_give_no_pairs() -> None:
    nothing = np.empty((0, 3), np.int64)
    assert seam_pairs(nothing, np.empty(0, np.int64), (5, 5, 5)).shape == (0, 2)


@quick
@given(st.integers(0, 20), seeds)
def test_joining_is_the_transitive_closure(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, max(n, 1), (n // 2, 2))
    objects, m = join_components(pairs, n)
    truth = list(range(n))
    for a, b in pairs.tolist():  # relabel the whole list for each pair: slow, and plainly right
        truth = [truth[a] if t == truth[b] else t for t in truth]
    assert len(objects) == n
    assert m == len(set(truth)) == len(set(objects.tolist()))
    assert len(set(zip(truth, objects.tolist(), strict=True))) == m
    assert set(objects.tolist()) == set(range(m))


def test_control_neighbours_of_neighbours_are_one_and_the_rest_is_not() -> None:
    objects, m = join_components(np.array([[0, 1], [1, 2]]), 4)
    assert m == 2
    assert objects[0] == objects[2] != objects[3]
