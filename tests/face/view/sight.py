"""What a browser shows of a scene, voxel by voxel: the page, its requests, and colours at the centres of voxels."""

from __future__ import annotations

import copy
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np
from neuroglancer import ViewerState
from neuroglancer.segment_colors import hex_string_from_segment_id

from bigcp3d.face.view.neuroglancer_view import serving

PATIENCE_S = 60
CLICKS = 10
PIXELS = 4
"""Of a voxel, on a side."""


class Sight:
    """A scene in a page of the browser."""

    def __init__(self, served, page, level, requests):
        self.served, self.page, self.level, self.requests = served, page, level, requests
        page.wait_for_function("window.viewer && viewer.isReady()", timeout=1000 * PATIENCE_S)

    def errors(self) -> dict[str, list[str]]:
        """What each layer says is wrong with its data."""
        return self.page.evaluate(
            "Object.fromEntries(viewer.layerManager.managedLayers.filter(l => l.layer).map(l => [l.name,"
            " l.layer.dataSources.map(d => d.loadState && d.loadState.error).filter(e => e).map(String)]))"
        )

    def plane(self, z: int, *, show, time: int | None = None) -> np.ndarray:
        """Colours (y, x, 3) of the voxels of a plane, with none but the layers ``show``, at their full strength.

        The voxels of y and x must be equally long, and those of z no shorter.
        """
        state = copy.deepcopy(self.served.viewer.state.to_json())  # which would be changed in place, unseen
        for layer in state["layers"]:
            layer |= {"visible": layer["name"] in show, "selectedAlpha": 1}
        level, scale = self.level, self.level.scale_um or (1.0, 1.0, 1.0)
        (_, ny, nx), place = level.shape, [t / s for t, s in zip(level.translation_um, scale, strict=True)]
        centre = [a + b for a, b in zip(place, (z, (ny - 1) / 2, (nx - 1) / 2), strict=True)]
        state |= {
            "position": [*reversed(centre), *([] if time is None else [time])],
            "crossSectionScale": 1 / PIXELS,
            "layout": "xy",
            "showScaleBar": False,
            "showAxisLines": False,
            "showDefaultAnnotations": False,
            "crossSectionBackgroundColor": "#000000",
            "selectedLayer": {"visible": False},
        }
        self.served.viewer.set_state(ViewerState(state))
        arrived = "p => viewer.state.toJSON().position.every((v, i) => Math.abs(v - p[i]) < 1e-3)"
        self.page.wait_for_function(arrived, arg=state["position"], timeout=1000 * PATIENCE_S)
        pixels = self.screenshot((nx * PIXELS, ny * PIXELS))
        return pixels[PIXELS // 2 :: PIXELS, PIXELS // 2 :: PIXELS, :3]

    def screenshot(self, size) -> np.ndarray:
        """All pixels (height, width, 4); fails after a while, where Neuroglancer alone would wait for ever."""
        with self.served.viewer.config_state.txn() as config:
            config.show_ui_controls, config.show_panel_borders, config.viewer_size = False, False, size
        for _ in range(5):  # the size may take effect one picture later
            pixels = np.asarray(self._shot().image_pixels)
            if pixels.shape[:2] == (size[1], size[0]):
                return pixels
        raise AssertionError(f"a picture of {pixels.shape} for {size}")

    def pick(self, y: int, x: int) -> set[int]:
        """Ids that are picked after a double click on a voxel of the plane that was looked at last."""
        with self.served.viewer.config_state.txn() as config:
            config.show_ui_controls, config.show_panel_borders, config.viewer_size = True, True, None
        _, ny, nx = self.level.shape
        for _ in range(CLICKS):  # a click that meets a busy page is lost, and the panel may still move
            self.page.wait_for_timeout(500)
            panel = self.page.locator(".neuroglancer-rendered-data-panel").bounding_box()
            middle = panel["x"] + panel["width"] / 2, panel["y"] + panel["height"] / 2
            at = (middle[0] + PIXELS * (x - (nx - 1) / 2), middle[1] + PIXELS * (y - (ny - 1) / 2))
            self.page.mouse.move(*at)
            self.page.wait_for_timeout(500)
            self.page.mouse.dblclick(*at)
            for _ in range(20 * PATIENCE_S // CLICKS):
                layers = self.served.viewer.state.to_json()["layers"]
                picked = {int(number) for layer in layers for number in layer.get("segments", ())}
                if picked:
                    return picked
                self.page.wait_for_timeout(50)
        return set()

    def _shot(self):
        """One picture, when all that it shows has arrived."""
        done, taken = threading.Event(), []
        self.served.viewer.async_screenshot(lambda reply: (taken.append(reply.screenshot), done.set()))
        for _ in range(20 * PATIENCE_S):
            self.page.wait_for_timeout(50)
            if done.is_set():
                return taken[0]
        raise AssertionError(f"no picture after {PATIENCE_S} s: {self.errors()}")


@contextmanager
def seeing(browser, scene, **settings):
    """A `Sight` of a scene; at its end, that nothing was asked of another machine."""
    context = browser.new_context(viewport={"width": 900, "height": 700})
    requests = []
    try:
        with serving(scene, **settings) as served:
            page = context.new_page()
            page.on("request", lambda request: requests.append(request.url))
            page.goto(served.url)
            yield Sight(served, page, scene.groups[0].info.levels[0], requests)
            page.close()
    finally:
        context.close()
    hosts = {urlsplit(url).hostname for url in requests if not url.startswith(("blob:", "data:"))}
    assert hosts == {"127.0.0.1"}


def colours_of(ids: np.ndarray) -> np.ndarray:
    """Colours (..., 3) that Neuroglancer gives to ids; black for 0."""
    table = {0: (0, 0, 0)}
    for number in np.unique(ids[ids > 0]).tolist():
        text = hex_string_from_segment_id(0, number)
        table[number] = tuple(int(text[i : i + 2], 16) for i in (1, 3, 5))
    return np.array([table[number] for number in ids.ravel().tolist()], np.uint8).reshape(*ids.shape, 3)


def wrong_voxels(seen: np.ndarray, ids: np.ndarray) -> int:
    """Voxels that do not show their id's colour; graphics round it their own way."""
    return int((abs(seen.astype(int) - colours_of(ids)) > 1).any(axis=-1).sum())


def far_voxels(seen: np.ndarray, values: np.ndarray, low: float, high: float) -> int:
    """Voxels whose brightness (0 to 255) is not that of their value between low and high, by more than rounding."""
    expected = 255 * np.clip((values.astype(float) - low) / (high - low), 0, 1)
    return int((abs(seen - expected) > 2).sum())
