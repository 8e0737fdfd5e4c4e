"""Draw descriptions of tissues at random, to train networks on.

A network learns to ignore what varies. So everything that must not matter to it is drawn from wide ranges: contrast,
blur (more of it along z), noise, background, fading, unevenness, the cells' density, and stain at a nucleus's surface.
"""

from __future__ import annotations

import numpy as np

from bigcp3d.pure.boxes import Vec3
from bigcp3d.pure.tissue.tissue_settings import RANGES, Tissue, three

LONG = 0.3
"""Share of the membrane tissues with long or flat cells, as in roots and epithelia: up to four to one."""


def random_tissue(rng: np.random.Generator, shape: Vec3, stain: str, diameter_vox: float) -> Tissue:
    """Draw a tissue of cells of about the given diameter, in voxels that are as long on each axis.

    The axes are stretched against each other, at the same volume: a little, or as `LONG` says. The blur is a fiftieth
    to almost a fifth of the diameter, since optics blur small cells as much as large ones. Along z it is up to 2.2
    times as much.
    """
    draw, nuclei = rng.uniform, stain == "nuclei"
    long = not nuclei and rng.random() < LONG
    stretch = np.exp(np.clip(rng.normal(0.0, 0.4 if long else 0.05 if nuclei else 0.15, 3), -0.7, 0.7))
    sizes = np.clip(diameter_vox * stretch / stretch.prod() ** (1 / 3), *RANGES["diameter_vox"])
    blur = min(10.0, max(0.5, diameter_vox * draw(0.02, 0.18)))
    blur_z = min(10.0, blur * draw(1.0, 2.2))
    return Tissue(
        shape=shape,
        diameter_vox=three(sizes),
        stain=stain,
        seed=int(rng.integers(2**63)),
        blur_vox=(blur_z, blur, blur),
        noise=float(np.exp(draw(np.log(0.02), np.log(0.5 if nuclei else 0.25)))),
        attenuation=draw(0.0, 0.7),
        staining=draw(0.1, 0.7),
        uneven=draw(0.1, 0.7),
        background=draw(0.0, 300.0),
        signal=float(np.exp(draw(np.log(100.0), np.log(4000.0)))),
        inside=draw(0.0, 0.4),
        empty=0.0 if rng.random() < 0.3 else draw(0.05, 0.6),
        jitter=draw(0.25 if nuclei else 0.15, 0.4),
        irregularity=draw(0.15, 0.65),
        spacing=float(np.exp(draw(np.log(1.0), np.log(2.2)))),
        texture=draw(0.1, 0.9),
        rim=draw(0.3, 1.0) if nuclei and rng.random() < 0.2 else 0.0,
    )
