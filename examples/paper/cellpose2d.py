"""Exp1 and Exp2: Cellpose's 2D network, trained by its own code on slices, applied by its own 3D mode.

Needs cellpose 3 (``bigcp3d[cellpose]``). Its 3D mode runs the network on all planes of the three directions, averages
the flows, and follows them in memory. The second row of each experiment takes the same network, and leaves everything
after it to bigcp3d.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from experiment import Job, Missing, Training, choose_steps
from material import read_whole, write_labels
from numpy.typing import NDArray
from splits import Volume, ball_vox
from unet3d import segment_ours

from bigcp3d import BigCP3DError
from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.pure.track.radius import MIN_VOLUME_SHARE

log = logging.getLogger(__name__)

EVERY = 4
"""Every fourth slice is trained on, as in the paper."""
EPOCHS = 200
"""About; Cellpose warms up over 10 epochs and halves its rate over the last 50 or 100."""
Slice = tuple[NDArray[np.float32], NDArray[np.int32]]
"""Image (2, h, w), the second channel empty, and labels (h, w)."""


def import_models() -> Any:
    """`cellpose.models`; `Missing` where there is none that trains 2D networks."""
    try:
        from cellpose import models, train
    except ImportError as error:
        raise Missing(f"cellpose is not installed ({error})") from error
    if not hasattr(train, "train_seg") or not hasattr(models, "normalize_default") or not hasattr(models, "CPnet"):
        raise Missing("this cellpose has no 2D network to train; cellpose 3 has (pip install 'cellpose<4')")
    return models


def cut_slices(volume: Volume, percentiles: tuple[float, float], axes: str = "zyx", every: int = EVERY) -> list[Slice]:
    """Every fourth slice across each of ``axes``, those without any cell left out.

    Intensities are scaled by percentiles of the whole volume, as Cellpose's 3D mode and bigcp3d do.
    """
    image = read_whole(open_image(volume.path)).astype(np.float32)
    labels = read_whole(open_labels(volume.path, "truth")).astype(np.int32)
    if volume.crumbs_vox:
        labels[(np.bincount(labels.ravel()) < volume.crumbs_vox)[labels]] = 0
    low, high = np.percentile(image, percentiles)
    image = (image - np.float32(low)) / np.float32(high - low)
    slices = []
    for axis in ("zyx".index(letter) for letter in axes):
        for at in range(every // 2, image.shape[axis], every):
            plane, truth = np.take(image, at, axis), np.take(labels, at, axis)
            if truth.any():
                slices.append((np.stack([plane, np.zeros_like(plane)]), truth))
    return slices


def train_from_scratch(job: Job) -> Training:
    """Cellpose's own training on slices of the fold's volumes, each volume as likely as its weight says."""
    models = import_models()
    from cellpose.dynamics import labels_to_flows

    arguments = job.arguments
    torch.manual_seed(arguments.seed)
    parts = [cut_slices(v, job.split.percentiles, arguments.axes) for v in job.volumes]
    images = [image for part in parts for image, _ in part]
    flows = labels_to_flows([truth.copy() for part in parts for _, truth in part], device=torch.device("cpu"))
    chance = np.concatenate(
        [np.full(len(part), v.weight / max(len(part), 1)) for v, part in zip(job.volumes, parts, strict=True)]
    )
    log.info("%d slices of %d volumes", len(images), len(job.volumes))

    def run(steps: int, name: str = "rehearsal") -> Any:
        torch.manual_seed(arguments.seed)
        model = models.CellposeModel(gpu=torch.cuda.is_available(), mkldnn=False, diam_mean=job.split.diameter_vox)
        _train_seg(model.net, images, flows, chance, steps, job, name)
        return model

    steps = choose_steps(job, run)
    begin, cpu = time.perf_counter(), time.process_time()
    network = run(steps, "model").net
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu
    (job.folder / "models" / "rehearsal").unlink(missing_ok=True)
    file = job.folder / "model.cellpose"
    os.replace(job.folder / "models" / "model", file)
    parameters = sum(p.numel() for p in network.parameters())
    seen = steps * arguments.batch * arguments.bsize**2
    return Training(str(file), steps, seen, parameters, seconds, cpu_seconds, f"{len(images)} slices")


def _train_seg(
    network: Any,
    images: Sequence[Any],
    flows: Sequence[Any],
    chance: NDArray[np.float64],
    steps: int,
    job: Job,
    name: str,
) -> None:
    """`cellpose.train.train_seg` for so many steps. Slices are on one grid already: none is rescaled to a diameter."""
    from cellpose.train import train_seg

    arguments = job.arguments
    each = max(1, steps // EPOCHS)
    epochs = math.ceil(steps / each)
    job.folder.mkdir(parents=True, exist_ok=True)
    train_seg(
        network,
        train_data=list(images),
        train_labels=list(flows),
        train_probs=chance.copy(),
        normalize=False,
        rescale=False,
        scale_range=0.5,
        bsize=arguments.bsize,
        batch_size=arguments.batch,
        learning_rate=arguments.lr,
        n_epochs=epochs,
        nimg_per_epoch=each * arguments.batch,
        min_train_masks=1,
        save_path=job.folder,
        save_every=10**9,
        model_name=name,
    )


def segment_in_3d(job: Job, training: Training, volume: Volume, store: Path) -> None:
    """Cellpose's own 3D mode, with the diameter and the smallest volume that bigcp3d is told as well."""
    models = import_models()
    info = open_image(volume.path)
    model = open_model(models, training.model)
    scale = info.levels[0].scale_um or (1.0, 1.0, 1.0)
    masks = model.eval(
        read_whole(info),
        channels=[0, 0],
        z_axis=0,
        do_3D=True,
        anisotropy=scale[0] / scale[2],
        diameter=volume.diameter_um / scale[2],
        min_size=max(15, round(ball_vox(volume.path, volume.diameter_um) * MIN_VOLUME_SHARE)),
        bsize=job.arguments.bsize,
    )[0]
    write_labels(store, info, np.asarray(masks), "cells")


def open_model(models: Any, weights: str) -> Any:
    """A network of a weight file or of Cellpose's name; Cellpose fetches the latter where it has not."""
    name = str(weights)
    if not Path(name).exists() and name not in models.MODEL_NAMES:  # Cellpose itself would take another model unasked
        raise Missing(f"{name} is neither a weight file nor one of Cellpose's models ({', '.join(models.MODEL_NAMES)})")
    try:
        return models.CellposeModel(gpu=torch.cuda.is_available(), pretrained_model=name, mkldnn=False)
    except Exception as error:  # whatever its download raises
        raise Missing(f"Cellpose cannot load {name} ({type(error).__name__}: {error})") from error


def segment_by_bigcp3d(job: Job, training: Training, volume: Volume, store: Path) -> None:
    """The same network as a predictor of bigcp3d."""
    try:
        segment_ours(f"cellpose:{training.model}", volume, store)
    except (BigCP3DError, ImportError) as error:
        raise Missing(f"bigcp3d cannot take {training.model} as a predictor: {error}") from error
