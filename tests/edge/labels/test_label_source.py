"""Which image labels lead to, and that labels from strangers make nobody ask a server elsewhere."""

from __future__ import annotations

import http.server
import threading

import numpy as np
import pytest
import zarr

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.labels.image_and_labels import open_image_and_labels, source_image


@pytest.fixture
def server():
    """Address of a server that has nothing, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()


def write_labels(path, source=None):
    """One labels image that names its source; an image of its own where it names none."""
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.create_array("0", data=np.ones((4, 5, 6), np.uint16), dimension_names=["z", "y", "x"])
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    scale = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    ome = {
        "version": "0.5",
        "multiscales": [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}],
    }
    group.attrs["ome"] = ome if source is None else {**ome, "image-label": {"source": {"image": source}}}
    return str(path)


def test_an_address_that_local_labels_name_is_not_asked(tmp_path, server, caplog):
    address, asked = server
    labels = write_labels(tmp_path / "labels.zarr", f"{address}/image.zarr")
    assert source_image(open_labels(labels, "")) is None
    assert open_image_and_labels(labels).image is None
    assert asked == []
    assert f"{address}/image.zarr on another server is not opened; give --image" in caplog.text


def test_an_address_that_the_user_names_is_asked(tmp_path, server):
    """The control: the server sees who asks it."""
    address, asked = server
    labels = write_labels(tmp_path / "labels.zarr", f"{address}/image.zarr")
    with pytest.raises(Exception, match="image"):
        source_image(open_labels(labels, ""), f"{address}/image.zarr")
    assert asked


def test_an_image_on_the_same_disk_is_found_and_another_one_can_be_given(tmp_path):
    image, other = write_labels(tmp_path / "image.zarr"), write_labels(tmp_path / "other.zarr")
    labels = open_labels(write_labels(tmp_path / "labels.zarr", "../image.zarr"), "")
    assert source_image(labels) == open_image(image)
    assert source_image(labels, other) == open_image(other)
