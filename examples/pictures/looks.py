"""Draw what the simulator and the augmentation can do to an image: one sheet a family, one panel a function.

    python examples/pictures/looks.py --out examples/pictures [--data ../shared/data]

Writes looks_shapes.jpg, looks_nuclei.jpg, looks_walls.jpg, looks_optics.jpg, looks_camera.jpg, looks_changes.jpg and
looks_samples.jpg, at most 400 kB together. Panels show the middle plane (y, x), or where z matters the middle section
(z, x). With ``--data``, the folder of real volumes, it also writes simulated_like.jpg: a mouse embryo (BBBC050) beside
what `bigcp3d simulate --like` makes of it.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np

from bigcp3d.pure.boxes import Box, Vec3
from bigcp3d.pure.learn.augment import Sample, change_contrast, cut_border, pure_noise
from bigcp3d.pure.learn.targets import dense_labels
from bigcp3d.pure.optics import camera, light
from bigcp3d.pure.optics.picture import normalise_at_random
from bigcp3d.pure.tissue.deform import carve, divide_cells, draw_warp, warp_array
from bigcp3d.pure.tissue.looks import stains, walls
from bigcp3d.pure.tissue.looks.draw_sample import draw_cells, draw_nuclei
from bigcp3d.pure.tissue.looks.paint_membranes import add_background_light
from bigcp3d.pure.tissue.looks.paint_nuclei import draw_debris
from bigcp3d.pure.tissue.looks.places import draw_places
from bigcp3d.pure.tissue.looks.shapes import draw_ellipsoids, grow, nuclei_in_cells
from bigcp3d.pure.tissue.match_look import match_look
from bigcp3d.pure.tissue.tissue import render
from bigcp3d.pure.tissue.tissue_light import stain_membranes
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work.simulate import read_middle
from bigcp3d.work.train.batches import make_sample
from bigcp3d.work.train.samples import Look, TissueSource

matplotlib.use("Agg")
from matplotlib import pyplot

SHAPE, DIAMETER = (64, 96, 96), 20.0
Panels = Iterator[tuple[str, np.ndarray]]


def rng(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


def ellipsoids(seed: int = 3, *, spread: float = 1.3, dents: float = 0.0, mitotic: float = 0.0, along: float = 1.0):
    """Objects in all of the sample."""
    places = draw_places(rng(seed), SHAPE, DIAMETER, spread=spread, spacing=1.0, full=True)
    bodies = draw_ellipsoids(rng(seed), places, along=along, spread=0.1, mitotic=mitotic)
    return grow(rng(seed), SHAPE, bodies, DIAMETER, dents=dents, bend=0.0)


def paint_walls(dense: np.ndarray) -> np.ndarray:
    """Plain walls."""
    keys = rng().integers(2**63, size=int(dense.max()) + 1, dtype=np.uint64)
    nearest = np.pad(dense - 1, 1, mode="edge")
    start, pitch = np.zeros(3, np.int64), np.full(3, DIAMETER)
    return stain_membranes(nearest, keys, start, pitch, np.uint64(1), np.ones(3), 0.05, 0.2, 0.2)


def soft(image: np.ndarray) -> np.ndarray:
    """A little blur, as of any microscope."""
    return light.blur(image, (1.0, 0.7, 0.7))


def cubes(shape: Vec3) -> np.ndarray:
    """Labels of cubes in rows, which show a change of the geometry."""
    z, y, x = np.indices(shape, np.int32) // int(DIAMETER)
    return 1 + x + 20 * y + 400 * z


def beside(*images: np.ndarray) -> np.ndarray:
    """The same third of several images, from left to right."""
    return np.concatenate([image[:, :, 20:52] for image in images], axis=2)


def shapes() -> Panels:
    """Labels."""
    cells, ids = dense_labels(draw_cells(rng(9), SHAPE, DIAMETER).labels)
    yield "ellipsoids", ellipsoids().labels
    yield "noise in all distances", ellipsoids(dents=0.3).labels
    yield "sizes over a factor of 4", ellipsoids(spread=2.0).labels
    yield "mitosis", ellipsoids(mitotic=0.5).labels
    yield "long", ellipsoids(along=2.5).labels
    yield "flat", ellipsoids(along=0.4).labels
    for seed, name in ((25, "places at random"), (26, "other places")):
        yield name, draw_nuclei(rng(seed), SHAPE, 14.0).labels
    yield "cells of mixed sizes", cells
    yield "nuclei in these cells", nuclei_in_cells(rng(), cells, len(ids), 0.6, dents=0.2).labels
    yield "cells divided", divide_cells(cells, rng(), 0.5, DIAMETER)
    yield "parts of cells removed", carve(cells, rng(3), DIAMETER)
    yield "whole cells removed", carve(cells, rng(2), DIAMETER)
    for seed, name in ((3, "cubes, turned and bent"), (11, "others")):
        warp = draw_warp(rng(seed), SHAPE, DIAMETER, free=True)
        yield name, warp_array(cubes(warp.source_shape), warp)


def nuclei() -> Panels:
    """Light of nuclei, and what shines beside them."""
    objects = ellipsoids(dents=0.15)
    for seed, name in ((1, "chromatin"), (12, "other nuclei"), (4, "other nuclei"), (8, "other nuclei")):
        yield name, soft(stains.stain_chromatin(objects, rng(seed), DIAMETER))
    yield "random classes", stains.draw_classes(rng(7), SHAPE, DIAMETER)
    yield "haze", stains.draw_haze(rng(), SHAPE, DIAMETER)
    yield "halo of cytoplasm", soft(stains.stain_cytoplasm(objects.labels, None, rng(), DIAMETER))
    cells, ids = dense_labels(draw_cells(rng(9), SHAPE, DIAMETER).labels)
    inside = nuclei_in_cells(rng(), cells, len(ids), 0.6, dents=0.2)
    yield "cytoplasm of cells", soft(stains.stain_cytoplasm(inside.labels, cells, rng(), DIAMETER))
    yield "granules", soft(draw_debris(objects, rng(), DIAMETER))
    bright, around = stains.stain_chromatin(objects, rng(1), DIAMETER), 0.3 * stains.draw_haze(rng(), SHAPE, DIAMETER)
    yield "darker than around", soft(stains.darken_nuclei(bright, around, objects.labels, rng()))


def membranes() -> Panels:
    """Stained walls."""
    cells, ids = dense_labels(draw_cells(rng(10), SHAPE, 26.0).labels)
    plain = paint_walls(cells)
    yield "walls before the blur", plain
    yield "walls", soft(plain)
    yield "double", soft(paint_walls(walls.shrink_cells(cells)))
    yield "thicker in places", soft(walls.thicken(plain, rng(4), DIAMETER))
    yield "broken", soft(walls.break_walls(plain, np.zeros_like(plain), rng(), DIAMETER))
    yield "bright insides", soft(walls.stain_interior(cells, rng(), len(ids)))
    yield "cytoplasm", soft(walls.add_cytoplasm(plain, cells, rng(4), DIAMETER))
    yield "bright nuclei", soft(walls.add_nuclei(plain, cells, rng(5), len(ids)))
    yield "plastids", soft(walls.add_plastids(plain, cells, rng(), DIAMETER))
    yield "vesicles", soft(walls.add_vesicles(plain, rng(4)))
    half = np.where(np.arange(SHAPE[2]) < SHAPE[2] // 2, cells, 0)
    ended = paint_walls(half)
    base = np.where(half > 0, np.float32(0.05), np.float32(0))
    yield "bright outer walls", soft(walls.stain_outer_walls(ended, base, half, rng(10)))
    yield "dim outer walls", soft(walls.stain_outer_walls(ended, base, half, rng(11)))
    yield "glowing medium", soft(walls.add_medium(ended, half, rng(6), DIAMETER))
    yield "noisy light outside", add_background_light(soft(ended), half, rng(3), (-0.5, 2.5))


def optics() -> Panels:
    """Microscopes."""
    image = soft(stains.stain_chromatin(ellipsoids(dents=0.15), rng(1), DIAMETER))
    side = slice(None), SHAPE[1] // 2
    yield "image (y, x)", image
    yield "the same (z, x)", image[side]
    yield "blur, more along z", light.blur(image, (5.0, 1.2, 1.2))[side]
    yield "blur with depth", light.blur_with_depth(image, (0, 0, 0), (5, 3, 3))[side]
    yield "scatter with depth", light.scatter_with_depth(image, 0.9)[side]
    yield "fade", light.fade(image, 0.9)[side]
    yield "coarse planes, 5:1", light.coarsen_z(image, 5)[side]
    yield "thin planes, 8:1", light.coarsen_z(image, 8, thin=True)[side]
    yield "out of focus", light.add_out_of_focus(image, 0.8)
    yield "ringing", light.ring(image, 0.25)
    yield "deconvolved", light.deconvolve_look(image, 1.5, 2.5)
    yield "uneven lighting", light.shade(image + 0.2, rng(), 1.0)
    yield "stripes", light.add_stripes(image + 0.2, rng(), 0.3)
    yield "flicker", light.flicker(image + 0.1, rng(), 0.25)[side]
    yield "shifted planes", light.shift_planes(image, rng(), 0.5)[side]


def cameras() -> Panels:
    """Cameras and files."""
    image = soft(stains.stain_chromatin(ellipsoids(dents=0.15), rng(1), DIAMETER))
    depth = np.linspace(0, 0.5, len(image), dtype=np.float32)[:, None, None]
    yield "read noise", camera.add_read_noise(image, rng(), 0.2)
    yield "noise with depth (z, x)", camera.add_read_noise(image, rng(), depth)[:, SHAPE[1] // 2]
    yield "few photons", camera.add_shot_noise(image, rng(), 5)
    yield "speckle", camera.add_speckle(image, rng(), 0.5)
    yield "coarse grain", camera.add_smooth_noise(image, rng(), 0.2)
    yield "fixed pattern", camera.add_fixed_pattern(image, rng(), 0.1)
    yield "hot pixels", camera.add_hot_pixels(image, rng(), 0.01, 2.0)
    yield "saturation", camera.saturate(image, 0.12)
    yield "six grey levels", camera.quantise(image, 4)
    yield "gamma", camera.apply_gamma(image, 0.4)


def changes() -> Panels:
    """Changes of a whole sample."""
    objects = ellipsoids(dents=0.15)
    image = soft(stains.stain_chromatin(objects, rng(1), DIAMETER))
    cut = cut_border(Sample(image[None], objects.labels, np.ones(SHAPE, bool)), rng(2), 0.3)
    yield "mirrored at borders", cut.image[0]
    yield "labels end there", cut.labels
    yield "image, two contrasts", beside(image, *(change_contrast(image, rng(seed)) for seed in (3, 8)))
    ranges = (normalise_at_random(image, rng(seed), (-0.5, 2.5)) for seed in (2, 8))
    yield "image, two ranges", beside(image, *ranges)
    yield "noise without cells", pure_noise(SHAPE, rng(9))


def like(path: Path) -> Panels:
    """A real image, and a simulation with its look."""
    image = read_middle(path)
    tissue = Tissue(image.shape, 15.0, "nuclei", seed=2, scale=(1.75, 0.8, 0.8))
    simulated = render(match_look(tissue, image), Box.of_shape(image.shape))[0]
    low, high = np.percentile(image, (1, 99.8))
    for name, counts in (("real image", image), ("simulated like it", simulated)):
        yield name, np.clip((counts - low) / (high - low), 0, 1)


def samples() -> Panels:
    """Whole training samples, as they are shown to the network."""
    for stain, diameter in (("nuclei", 14.0), ("membrane", 20.0)):
        card = SimpleNamespace(
            diameter_vox=diameter, scale_vox=diameter / 5, representation="tanh", clip=(-0.5, 2.5)
        )  # fmt: skip
        source = TissueSource(stain, Look(diameter, 1.0, 99.0))
        for seed in range(10):
            yield f"{stain} {seed + 1}", make_sample(source, rng(100 + seed), (64, 64, 64), card)[0][0]


def draw(panels: Panels, out: Path, columns: int = 5, dpi: int = 85) -> None:
    """Draw a sheet of labelled panels."""
    found = list(panels)
    rows = -(-len(found) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(1.7 * columns, 1.9 * rows + 0.1), squeeze=False)
    colours = np.random.default_rng(1).uniform(0.2, 1, (10_000, 3))
    colours[0] = 0
    for axis in axes.flat:
        axis.axis("off")
    for axis, (name, array) in zip(axes.flat, found, strict=False):
        plane = array if array.ndim == 2 else array[len(array) // 2]
        if np.issubdtype(plane.dtype, np.integer):
            axis.imshow(colours[plane % len(colours)], interpolation="nearest")
        else:
            low, high = np.quantile(plane, (0.005, 0.995))
            axis.imshow(plane, cmap="gray", vmin=min(low, 0.0), vmax=max(high, 0.3), interpolation="nearest")
        axis.set_title(name, fontsize=7)
    figure.tight_layout(pad=0.3)
    figure.savefig(out, dpi=dpi, pil_kwargs={"quality": 60})
    pyplot.close(figure)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--data", type=Path, help="folder of real volumes")
    arguments = parser.parse_args()
    out = arguments.out
    sheets = {
        "shapes": shapes, "nuclei": nuclei, "walls": membranes, "optics": optics, "camera": cameras, "changes": changes,
        "samples": samples,
    }  # fmt: skip
    for name, make in sheets.items():
        draw(make(), out / f"looks_{name}.jpg", 10 if name == "samples" else 5)
    if arguments.data:
        draw(like(arguments.data / "nuclei" / "emb01_t501.zarr"), out / "simulated_like.jpg", columns=2, dpi=170)


if __name__ == "__main__":
    main()
