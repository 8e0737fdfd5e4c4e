"""How often a run warns of right and of wrong settings: ``python -m tests.benchmarks.plausibility``.

Real volumes (``--data``) and simulated ones are segmented in memory with the right settings, and with wrong ones: the
other model, a diameter 2.5 and 0.4 times as large, none at all, inverted contrast, noise, an empty channel. A setting
counts as wrong if its scores fall far below those of the right one, where there is a truth. Maps are kept in
``--cache``, so that thresholds can be tried without predicting anew. The thresholds were chosen on one half of the
volumes ("tune"); the other half ("test") shows what they are worth.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.models.model_families import load_card, load_network
from bigcp3d.pure.boxes import Box, Vec3, vec3
from bigcp3d.pure.cells.plausibility import find_oddities
from bigcp3d.pure.grid import Factors, resample, spread_labels, working_shape
from bigcp3d.pure.group.objects import Filters, dense_ids, keep_objects
from bigcp3d.pure.in_memory import Limits, find_in, find_objects
from bigcp3d.pure.predict.normalise import estimate_range, normalise_intensity, sample_boxes
from bigcp3d.pure.score.metrics import score_overlaps
from bigcp3d.pure.score.overlaps import count_overlaps
from bigcp3d.pure.tissue.tissue import render
from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.pure.track.radius import smallest_volume

CROP: Vec3 = (56, 96, 96)
"""Working voxels of a crop, at most."""
EMBRYOS = ("emb01_t451", "emb02_t501", "emb04_t451", "emb05_t501", "emb07_t501", "emb08_t501")
"""Those that thresholds were chosen on."""
FEW_TRUE_CELLS = 8
"""A crop with fewer true cells is not judged by its scores."""


@dataclass(frozen=True)
class Volume:
    """An image to segment, its voxel size (z, y, x), and the right model ("" if none is) and diameter."""

    name: str
    half: str
    image: NDArray[Any]
    scale: tuple[float, float, float]
    model: str
    diameter: float
    truth: NDArray[Any] | None = None


@dataclass(frozen=True)
class Trial:
    """Settings for a volume; ``diameter`` None: at its own voxel size."""

    what: str
    model: str
    diameter: float | None
    inverted: bool = False


def trials(volume: Volume) -> Iterator[Trial]:
    """The right settings first."""
    if not volume.model:
        for model in ("membrane", "nuclei"):
            yield Trial(f"{model} model", model, volume.diameter)
        yield Trial("as is", "nuclei", None)
        return
    other = "nuclei" if volume.model == "membrane" else "membrane"
    right = Trial("right", volume.model, volume.diameter)
    yield right
    yield replace(right, what="other model", model=other)
    yield replace(right, what="diameter x 1.3", diameter=1.3 * volume.diameter)
    yield replace(right, what="diameter x 2.5", diameter=2.5 * volume.diameter)
    yield replace(right, what="diameter x 0.4", diameter=0.4 * volume.diameter)
    yield replace(right, what="as is", diameter=None)
    yield Trial("other model, as is", other, None)
    yield replace(right, what="inverted", inverted=True)


def real_volumes(data: Path) -> Iterator[Volume]:
    """All real volumes; of the blastocyst, whose voxel size is unknown, both channels.

    LaminB1 lights the nuclei's envelopes, which neither model knows: labels are crescents (looked at).
    """
    for path in sorted((data / "nuclei").iterdir()):
        half = "tune" if path.stem in EMBRYOS else "test"
        yield read_volume(path, path.stem, half, "nuclei", 15.0)
    yield read_volume(data / "nuclei_other/cells3d.zarr", "cells3d", "test", "nuclei", 9.0)
    yield read_volume(data / "membrane/ovule.zarr", "ovule", "tune", "membrane", 6.0)
    yield read_volume(data / "membrane/root.zarr", "root", "test", "membrane", 7.5)
    yield read_volume(data / "membrane/embryo.zarr", "C. elegans", "test", "membrane", 60.0, scale=(6.0, 1.0, 1.0))
    cubes = {"diameter": 24.0, "scale": (1.0, 1.0, 1.0)}
    yield read_volume(data / "blastocyst.zarr", "blastocyst DAPI", "tune", "nuclei", channel=1, **cubes)
    yield read_volume(data / "blastocyst.zarr", "blastocyst LaminB1", "test", "", channel=0, **cubes)


def read_volume(
    path: Path, name: str, half: str, model: str, diameter: float, *, scale: Any = None, channel: int = 0
) -> Volume:
    """A volume on disk with its truth, if it has one."""
    image = open_image(path)
    box = Box.of_shape(image.levels[0].shape)
    truth = read_box(open_labels(path, "truth"), 0, box) if "truth" in image.label_names else None
    voxels = read_box(image, 0, box, channel=channel)
    return Volume(name, half, voxels, scale or image.levels[0].scale_um, model, diameter, truth)


def simulated_volumes() -> Iterator[Volume]:
    """Tissues of many kinds, odd seeds for thresholds; noise, and channels without a stain."""
    size = (72, 128, 128)
    kinds: dict[str, dict[str, Any]] = {
        "plain": {},
        "anisotropic": {"shape": (40, 128, 128), "scale": (2.0, 1.0, 1.0)},
        "noisy": {"noise": 0.35, "blur_vox": (2.0, 1.2, 1.2)},
        "dim": {"signal": 150.0, "noise": 0.25, "attenuation": 0.6},
        "dense": {"empty": 0.0},
        "sparse": {"empty": 0.7},
        "small cells": {"diameter_vox": 13.0},
        "large cells": {"diameter_vox": 30.0},
    }
    for stain, usual in (("membrane", {"diameter_vox": 20.0}), ("nuclei", {"diameter_vox": 14.0, "staining": 0.5})):
        for seed, (kind, settings) in enumerate(kinds.items(), start=21):
            more = {"spacing": 1.1} if (stain, kind) == ("nuclei", "dense") else {}
            tissue = Tissue(**{"shape": size, "stain": stain, "seed": seed, **usual, **settings, **more})
            image, truth = render(tissue, Box.of_shape(tissue.shape))
            half = "tune" if (seed + (stain == "nuclei")) % 2 else "test"
            yield Volume(f"{stain}, {kind}", half, image, tissue.scale, stain, float(tissue.diameter_vox), truth)  # type: ignore[arg-type]
    rng = np.random.default_rng(5)
    one = (1.0, 1.0, 1.0)
    shape = (56, 96, 96)
    yield Volume("noise", "tune", rng.normal(500, 100, shape), one, "", 16.0)
    yield Volume("noise of photons", "test", rng.poisson(3.0, shape), one, "", 16.0)
    from scipy.ndimage import gaussian_filter

    yield Volume("blurred noise", "test", gaussian_filter(rng.normal(0, 100, shape), 2.0), one, "", 16.0)
    yield Volume("finely blurred noise", "tune", gaussian_filter(rng.normal(0, 100, shape), 1.0), one, "", 16.0)
    ramp = np.linspace(0, 300, shape[2]) + rng.normal(500, 5, shape)
    yield Volume("uneven light, no stain", "test", ramp, one, "", 16.0)
    empty = 100 + (rng.random(shape) < 0.001) * 50.0
    yield Volume("empty channel", "tune", empty, one, "", 16.0)


@lru_cache
def network(model: str) -> Any:
    """The shipped network in the precision that is fast here."""
    import torch

    from bigcp3d.pure.predict.run_network import fast_precision, fix_arithmetic

    fix_arithmetic()
    return load_network(model)[0].to(getattr(torch, fast_precision("cpu")))


@dataclass(frozen=True)
class Crop:
    """The middle of a volume, as far as `CROP` reaches, with the settings of a trial."""

    volume: Volume
    trial: Trial

    @cached_property
    def factors(self) -> Factors:
        """Image voxels per working voxel."""
        if self.trial.diameter is None:
            return (1.0, 1.0, 1.0)
        working = self.trial.diameter / load_card(self.trial.model).diameter_vox
        z, y, x = (working / s for s in self.volume.scale)
        return z, y, x

    @cached_property
    def box(self) -> Box:
        """In voxels of the image."""
        sides = [min(s, round(c * f)) for s, c, f in zip(self.volume.image.shape, CROP, self.factors, strict=True)]
        start = [(s - side) // 2 for s, side in zip(self.volume.image.shape, sides, strict=True)]
        return Box(vec3(start), vec3(a + b for a, b in zip(start, sides, strict=True)))

    def predict(self) -> NDArray[np.int8]:
        """The maps."""
        from bigcp3d.pure.predict.run_network import predict_whole

        card, image = load_card(self.trial.model), self.volume.image.astype(np.float32)
        image = -image if self.trial.inverted else image
        sample = [image[box.slices()] for box in sample_boxes(vec3(image.shape))]
        low, high = estimate_range(sample, card.low_percentile, card.high_percentile)
        values = normalise_intensity(image[self.box.slices()], low, high, card.clip)
        shape = working_shape(self.box.shape, self.factors)
        whole = Box.of_shape(self.box.shape)
        values = resample(values, whole, Box.of_shape(shape), self.factors, self.box.shape)[None]
        seeing = network(self.trial.model)
        return predict_whole(values, seeing, patch=card.patch, margin=card.margin, stride=card.stride)


def measure(crop: Crop, maps: NDArray[np.int8]) -> dict[str, Any]:
    """What a run finds from the maps, and its scores where there is a truth."""
    card = load_card(crop.trial.model)
    shape, radius = vec3(maps.shape[1:]), card.diameter_vox / 2
    box = Box.of_shape(shape)
    objects = find_objects(maps, box, box, shape, Limits.of(radius))
    filters = Filters(min_volume_vox=smallest_volume(radius), min_foreground=card.min_foreground or None)
    sums = objects.components.sums
    keep, removed = keep_objects(sums, filters)
    found = find_in(objects, keep, removed, representation=card.representation, scale_vox=card.scale_vox)
    row: dict[str, Any] = {"found": found}
    if crop.volume.truth is not None:
        labels = objects.label(box, dense_ids(sums, keep))
        labels = spread_labels(labels, box, Box.of_shape(crop.box.shape), crop.factors, shape)
        truth = crop.volume.truth[crop.box.slices()].astype(np.uint32)
        scores = score_overlaps(count_overlaps(labels, truth), min_truth_vox=50)
        row |= {"ap50": scores["ap50"], "dice": scores["mean_dice"], "true_cells": scores["true_cells"]}
    return row


def judge(row: dict[str, Any], right: dict[str, Any] | None) -> str:
    """Whether the settings of a row are right, wrong, or do little harm; "unknown" without enough of a truth."""
    if row["what"] == "right":
        return "right"
    if right is None:
        return "wrong"
    if "ap50" not in row:
        return "unknown" if row["what"] in ("as is", "diameter x 1.3") else "wrong"
    if row["true_cells"] < FEW_TRUE_CELLS:
        return "unknown"
    bad = row["ap50"] < 0.6 * right["ap50"] or (row["dice"] or 0.0) < 0.7 * right["dice"]
    return "wrong" if bad else "little harm"


def collect(volumes: Iterable[Volume], cache: Path) -> list[dict[str, Any]]:
    """A row for each trial of each volume; maps that lie in the cache are not predicted again."""
    rows = []
    for volume in volumes:
        for trial in trials(volume):
            crop, path = Crop(volume, trial), cache / f"{volume.name}__{trial.what}.npz".replace(" ", "_")
            if not path.exists():
                np.savez(path.with_suffix(".part.npz"), maps=crop.predict())
                path.with_suffix(".part.npz").rename(path)
            with np.load(path) as stored:
                found = measure(crop, stored[stored.files[0]])
            rows.append({"volume": volume.name, "half": volume.half, "what": trial.what, **found})
            print(
                volume.name, "|", trial.what, "|", [oddity.kind for oddity in find_oddities(found["found"])], flush=True
            )
    return rows


def tabulate(rows: list[dict[str, Any]]) -> list[str]:
    """A Markdown table: how many trials of each kind warned, in the half for thresholds and in the other."""
    right = {row["volume"]: row for row in rows if row["what"] == "right"}
    counts: dict[tuple[str, str], dict[str, list[bool]]] = {}
    for row in rows:
        verdict = judge(row, right.get(row["volume"]))
        what = row["what"] if row["volume"] in right else "no right settings: noise, empty, unknown stain"
        for kind in (what, "all"):
            halves = counts.setdefault((verdict, kind), {"tune": [], "test": []})
            halves[row["half"]].append(bool(find_oddities(row["found"])))
    order = ("right", "wrong", "little harm", "unknown")
    lines = ["| settings are | which | warned, half for thresholds | warned, other half |", "|" + " --- |" * 4]
    for verdict, kind in sorted(counts, key=lambda pair: (order.index(pair[0]), pair[1] == "all", pair[1])):
        shares = (f"{sum(warned)} of {len(warned)}" for warned in counts[verdict, kind].values())
        lines.append(f"| {verdict} | {kind} | {' | '.join(shares)} |")
    return lines


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, required=True, help="folder for maps, 600 MB")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    real = real_volumes(arguments.data) if arguments.data.exists() else iter(())
    rows = collect(itertools.chain(simulated_volumes(), real), arguments.cache)
    print("\n".join(["", *tabulate(rows)]))


if __name__ == "__main__":
    main()
