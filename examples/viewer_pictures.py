"""Pictures of `bigcp3d view`, taken in a browser without a screen: those in the documentation, or of your own store.

    python examples/viewer_pictures.py [STORE.zarr] [--out DIR] [--scale Z Y X] [--at Z Y X] [--maps] [--work-dir DIR]

Without a store it simulates a tissue and segments it. Needs chromium (Debian: apt-get install chromium) and playwright.
The pictures of the documentation are of the mouse blastocyst of IDR (idr0062, image 6001240, CC BY 4.0), segmented by

    bigcp3d segment blastocyst.zarr --model nuclei --channel 1 --scale 0.5 0.36 0.36 --diameter 12 --keep-maps
    python examples/viewer_pictures.py blastocyst.zarr --scale 0.5 0.36 0.36 --maps --out examples/pictures
"""

import argparse
import copy
import shutil
import tempfile
from pathlib import Path

import bigcp3d
from bigcp3d.face.view.maps_layers import with_maps
from bigcp3d.face.view.neuroglancer_view import serving
from bigcp3d.face.view.scene import make_scene

# Neuroglancer draws with WebGL, which chromium can do on a processor alone.
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SIZE = {"width": 1280, "height": 800}
SETTLE_MS = 1500  # what comes into sight last: coarser levels make way for finer ones


def segmented_tissue(folder: Path) -> Path:
    """A simulated tissue with its cells, and the maps that they came from."""
    store, scale = folder / "tissue.zarr", (1.0, 0.5, 0.5)
    bigcp3d.simulate(
        store, bigcp3d.Tissue(shape=(32, 128, 128), diameter_vox=24.0, seed=1, scale=scale), scale_um=scale
    )
    bigcp3d.segment(store, model="membrane", diameter_um=12.0, keep_maps=True, executor="serial")
    return store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", nargs="?")
    parser.add_argument("--out", type=Path, default=Path("pictures"))
    parser.add_argument("--scale", nargs=3, type=float, metavar=("Z", "Y", "X"), help="micrometres per voxel")
    parser.add_argument("--at", nargs=3, type=float, metavar=("Z", "Y", "X"), help="voxel in the middle")
    parser.add_argument("--maps", action="store_true", help="a second picture, of the maps")
    parser.add_argument("--work-dir", help="where the maps were kept")
    arguments = parser.parse_args()

    from playwright.sync_api import sync_playwright  # here, so that --help works without it

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        store = arguments.store or segmented_tissue(Path(folder))
        scene = make_scene(store, scale_um=tuple(arguments.scale) if arguments.scale else None)
        if arguments.maps or arguments.store is None:
            scene = with_maps(scene, arguments.work_dir)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        arguments.out.mkdir(parents=True, exist_ok=True)
        with serving(scene) as served:
            page = browser.new_page(viewport=SIZE)
            page.goto(served.url)
            take(page, served.viewer, arguments.out / "view.jpg", arguments.at, "image and labels")
            if len(scene.images) > 1:
                take(page, served.viewer, arguments.out / "view_maps.jpg", arguments.at, "maps")
        browser.close()


def take(page, viewer, path: Path, at, what: str) -> None:
    """One picture: of image and labels, or of the flow in colours."""
    state = copy.deepcopy(viewer.state.to_json())
    for layer in state["layers"]:
        kind = layer["name"].partition(": ")[2]
        if what == "maps":
            layer["visible"] = kind.startswith("flow")
        elif kind:
            layer["visible"] = False
    if at:
        state["position"] = [*reversed(at), *state["position"][3:]]
    viewer.set_state(state)
    page.wait_for_timeout(SETTLE_MS)
    page.wait_for_function("viewer.isReady()", timeout=60_000)
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=path, type="jpeg", quality=85)
    print(f"{path}: {what}")


if __name__ == "__main__":
    main()
