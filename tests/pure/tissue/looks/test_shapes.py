"""Places, shapes and stains of simulated samples: sizes as asked, no ellipsoids, nuclei inside their cells."""

import numpy as np
import pytest

from bigcp3d.pure.tissue.looks import stains, walls
from bigcp3d.pure.tissue.looks.draw_sample import draw_cells, draw_nuclei, paint_nuclei_in_cells
from bigcp3d.pure.tissue.looks.paint_nuclei import paint_nuclei
from bigcp3d.pure.tissue.looks.places import draw_places
from bigcp3d.pure.tissue.looks.shapes import draw_ellipsoids, grow, nuclei_in_cells

SHAPE = (32, 48, 48)
CLIP = (-0.5, 2.5)


def rng(seed=0):
    return np.random.default_rng(seed)


def places(spread=1.3, spacing=1.0, seed=0):
    return draw_places(rng(seed), SHAPE, 10.0, spread=spread, spacing=spacing, full=True)


def objects(dents=0.0, mitotic=0.0, seed=0):
    bodies = draw_ellipsoids(rng(seed), places(seed=seed), along=1.0, spread=0.0, mitotic=mitotic)
    return grow(rng(seed), SHAPE, bodies, 10.0, dents=dents, bend=0.0)


def volumes(labels):
    counts = np.bincount(labels.ravel())[1:]
    return counts[counts > 0]


@pytest.mark.parametrize("spacing", [0.8, 1.5])
def test_places_keep_their_distance_and_fill_the_sample(spacing):
    found = places(spacing=spacing)
    apart = np.linalg.norm(found.centre[:, None] - found.centre[None], axis=2)
    allowed = spacing * (found.radius[:, None] + found.radius[None])
    np.fill_diagonal(apart, np.inf)
    assert (apart >= allowed - 1e-9).all()
    assert len(found.radius) > 0.3 * np.prod(np.array(SHAPE) + 13) / (2 * spacing * 5) ** 3


def test_sizes_of_one_sample_reach_a_factor_of_four():
    found = places(spread=2.0)
    assert found.radius.max() / found.radius.min() > 3
    assert 2.5 <= found.radius.min() <= found.radius.max() <= 10


def test_ellipsoids_have_the_volume_of_their_radius():
    found, drawn = places(), objects()
    inner = [
        n for n, (c, r) in enumerate(zip(found.centre, found.radius, strict=True))
        if (c > r + 1).all() and (c < np.array(SHAPE) - r - 2).all()
    ]  # fmt: skip
    counts = np.bincount(drawn.labels.ravel(), minlength=len(found.radius) + 1)[1:]
    assert len(inner) > 3
    for n in inner:
        assert counts[n] == pytest.approx(4.19 * found.radius[n] ** 3, rel=0.15)


def test_noise_dents_the_outlines():
    plain, dented = objects().labels, objects(dents=0.4).labels
    assert not np.array_equal(plain, dented)
    assert (plain > 0).mean() == pytest.approx((dented > 0).mean(), rel=0.35)
    deep = objects(dents=0.4).depth
    assert deep[dented > 0].max() < 1
    assert (deep[dented == 0] == 9).all()


def test_mitosis_makes_plates_and_pairs_that_are_bright():
    plain, divided = objects(), objects(mitotic=1.0)
    assert len(divided.level) > len(plain.level)
    assert divided.level.min() >= 1 < divided.level.max()
    assert np.median(volumes(divided.labels)) < 0.5 * np.median(volumes(plain.labels))


def test_nuclei_never_leave_their_cells_and_have_the_size_that_is_asked():
    cells = draw_cells(rng(4), (48, 64, 64), 24.0).labels
    number = int(cells.max())
    large, small = (nuclei_in_cells(rng(), cells, number, share, dents=0.2, empty=0.0) for share in (0.75, 0.4))
    for found in (large, small):
        assert (found.labels[found.labels > 0] == cells[found.labels > 0]).all()
    assert np.median(volumes(large.labels)) > 3 * np.median(volumes(small.labels))
    some = nuclei_in_cells(rng(), cells, number, 0.6, dents=0.2, empty=0.5)
    assert len(volumes(some.labels)) < 0.8 * len(volumes(large.labels))


@pytest.mark.parametrize("make", [
    lambda r: draw_nuclei(r, SHAPE, 10.0).labels,
    lambda r: draw_cells(r, SHAPE, 12.0).labels,
    lambda r: paint_nuclei(draw_nuclei(r, SHAPE, 10.0), r, 10.0, CLIP),
    lambda r: paint_nuclei_in_cells(draw_cells(r, SHAPE, 16.0).labels, 0.6, r, 10.0, CLIP)[0],
])  # fmt: skip
def test_samples_follow_from_the_seed_and_vary_with_it(make):
    drawn = [make(rng(seed)) for seed in (*range(6), *range(6))]
    assert all(np.array_equal(a, b) for a, b in zip(drawn[:6], drawn[6:], strict=True))
    assert len({array.tobytes() for array in drawn}) > 4
    assert all(array.shape == SHAPE and np.isfinite(array).all() for array in drawn)


def test_most_nuclei_are_brighter_than_what_surrounds_them_and_a_few_darker():
    contrast = []
    for seed in range(80):
        found = objects(seed=seed % 5)
        image = paint_nuclei(found, rng(seed), 10.0, CLIP)
        assert image.dtype == np.float32
        assert CLIP[0] <= image.min() <= image.max() <= CLIP[1]
        contrast.append(float(image[found.labels > 0].mean() - image[found.labels == 0].mean()))
    assert np.mean(np.array(contrast) > 0.05) > 0.8
    assert min(contrast) < -0.05


def test_what_shines_beside_nuclei():
    found = objects()
    classes = stains.draw_classes(rng(5), SHAPE, 10.0)
    assert 2 <= len(np.unique(classes)) <= 20
    assert 0 <= stains.draw_haze(rng(), SHAPE, 10.0).min() <= stains.draw_haze(rng(), SHAPE, 10.0).max() <= 1
    halo = stains.stain_cytoplasm(found.labels, None, rng(), 10.0)
    assert not halo[found.labels > 0].any()
    assert halo[found.labels == 0].max() > 0.5
    assert 0 < (stains.draw_granules(rng(), SHAPE, 1.0, 0.01) > 0.3).mean() < 0.05
    assert stains.draw_levels(rng(), 5, 0.3)[0] == 0


def test_walls_may_be_thick_double_broken_or_dark():
    cells = draw_cells(rng(4), (48, 64, 64), 24.0).labels
    borders = walls.find_borders(cells)
    light = borders.astype(np.float32)
    assert np.array_equal(walls.shrink_cells(cells) > 0, (cells > 0) & ~borders)
    thick = [walls.thicken(light, rng(seed), 24.0) for seed in range(8)]
    assert all((one >= light).all() and one.sum() > light.sum() for one in thick)
    broken = walls.break_walls(light, np.zeros_like(light), rng(), 24.0)
    assert (broken <= light).all()
    assert 0 < broken.sum() < light.sum()
    number = int(cells.max())
    filled = walls.stain_interior(cells, rng(), number)
    assert filled[(cells > 0) & ~borders].mean() > 2 * filled[borders].mean()
    assert not (walls.add_plastids(light, cells, rng(), 24.0) - light)[cells == 0].any()
    assert walls.add_nuclei(light, cells, rng(), number).min() >= 0
    hollow = np.where(np.arange(64) < 32, cells, 0)
    glowing = walls.add_medium(light, hollow, rng(), 24.0) - light
    assert not glowing[hollow > 0].any()
    assert glowing[hollow == 0].mean() > 0.02
    outer = walls.find_borders((hollow > 0).astype(np.int32))
    bright = walls.stain_outer_walls(light, np.zeros_like(light), hollow, rng(10))
    assert np.array_equal(bright != light, outer & (light > 0))
    assert bright[outer].sum() > 1.5 * light[outer].sum()
    assert not (walls.add_cytoplasm(light, hollow, rng(), 24.0) - light)[hollow == 0].any()
    dots = walls.add_vesicles(light, rng(4)) - light
    assert dots.min() >= 0
    assert 0 < (dots > 0).mean() < 0.002


def test_dark_nuclei_are_darker_than_all_that_surrounds_them():
    found = objects()
    image = stains.darken_nuclei(np.ones(SHAPE, np.float32), stains.draw_haze(rng(), SHAPE, 9.0), found.labels, rng())
    assert image.dtype == np.float32
    assert image[found.labels > 0].max() < image[found.labels == 0].min()
