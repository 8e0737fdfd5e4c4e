"""A picture of a run on Dask's dashboard, the page of tasks.

    python examples/dashboard_screenshot.py FOLDER [--shape Z Y X]

A simulated tissue is segmented by two workers. The page is open in a Chromium without a screen, and photographed when
half of the blocks are tracked: FOLDER/dask.png. Needs playwright (pip) and chromium (apt).
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

import bigcp3d
from bigcp3d.schedule.running.events import BlockDone, ClusterReady

SCALE_UM = (1.0, 0.5, 0.5)
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--disable-dev-shm-usage"]


class Photographer:
    """Opens the dashboard when the cluster is there, and takes its picture when half of the blocks are tracked."""

    def __init__(self, browser, picture):
        self.browser, self.picture = browser, picture
        self.page, self.taken = None, 0

    def __call__(self, event):
        if isinstance(event, ClusterReady):
            self.page = self.browser.new_page(viewport={"width": 1150, "height": 860})
            self.page.goto(event.dashboard)
        if isinstance(event, BlockDone) and event.name == "track" and 2 * event.done >= event.total and not self.taken:
            self.taken = event.done
            self.page.wait_for_selector(".bk-Figure", state="attached")
            self.page.wait_for_timeout(1500)  # the page is drawn anew every second
            self.page.screenshot(path=self.picture)
            print(self.picture)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", type=int, nargs=3, default=(64, 256, 256), metavar=("Z", "Y", "X"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    store = options.folder / "tissue.zarr"
    tissue = bigcp3d.Tissue(shape=tuple(options.shape), diameter_vox=24.0, stain="membrane", seed=0, scale=SCALE_UM)
    bigcp3d.simulate(store, tissue, scale_um=SCALE_UM)
    settings = {"diameter_um": 12.0, "workers": 2}
    shape = bigcp3d.plan_segmentation(store, **settings).shape
    block = tuple(-(-side // n) for side, n in zip(shape, (2, 4, 4), strict=True))
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        photographer = Photographer(browser, options.folder / "dask.png")
        summary = bigcp3d.segment(store, block=block, on_event=photographer, **settings)
        browser.close()
    print(f"{summary.cells} cells; picture taken after {photographer.taken} blocks")


if __name__ == "__main__":
    main()
