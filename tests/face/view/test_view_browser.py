"""What ``bigcp3d view`` shows in a browser: every label where it is, in the colour of its id, over its image.

All on what ``bigcp3d segment`` wrote, in headless chromium; `tests.face.view.sight` compares voxel by voxel.
"""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import zarr

import bigcp3d
from bigcp3d.edge.stores.places import place
from bigcp3d.face.view.maps_layers import with_maps
from bigcp3d.face.view.scene import make_scene
from bigcp3d.face.view.served_objects import ServedGroup
from tests.face.balls import SCALE, ball_maps, make_store, voxels
from tests.schedule.conftest import read_labels

pytest.importorskip("neuroglancer", reason="neuroglancer is not installed")
from tests.face.view.sight import PATIENCE_S, far_voxels, seeing, wrong_voxels


@pytest.fixture(scope="module", params=[pytest.param("0.4", marks=pytest.mark.slow), "0.5"])
def store(request, tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("view"), request.param)


def as_written(scene):
    """The scene, served with the metadata that are stored, not with those that bigcp3d makes of them."""

    def bare(groups):
        return tuple(replace(group, served=ServedGroup(group.served.places)) for group in groups)

    return replace(scene, images=bare(scene.images), labels=bare(scene.labels))


def test_every_label_has_the_colour_of_its_id_over_its_image(chromium, store):
    """With no more than the metadata that was written; the control is the same check on labels a voxel further on."""
    labels, image = read_labels(store, "cells"), voxels()
    assert np.array_equal(labels > 0, ball_maps()[0] > 0)
    scene = as_written(make_scene(store))
    first = scene.images[0].channels[0]
    with seeing(chromium, scene) as sight:
        assert not any(sight.errors().values())
        z = 10
        seen = sight.plane(z, show=[first.name])[..., 1]
        assert far_voxels(seen, image[z], first.low, first.high) == 0
        for axis in range(3):
            assert far_voxels(seen, np.roll(image, 1, axis)[z], first.low, first.high) > 100
        seen = sight.plane(z, show=["cells"])
        assert wrong_voxels(seen, labels[z]) == 0
        for axis in range(3):
            assert wrong_voxels(seen, np.roll(labels, 1, axis)[z]) > 100
        y, x = (int(i) for i in np.argwhere(labels[z] > 0)[7])
        assert sight.pick(y, x) == {labels[z, y, x]}
        command = f"bigcp3d edit {store / 'labels' / 'cells'} split {labels[z, y, x]}"
        sight.page.get_by_text(command).wait_for(timeout=1000 * PATIENCE_S)


def test_labels_whose_metadata_are_a_voxel_off_are_seen_to_be_off(chromium, store, tmp_path):
    """The other control: voxels untouched, translation a voxel further on x."""
    shutil.copytree(store, tmp_path / "off.zarr")
    group = tmp_path / "off.zarr" / "labels" / "cells"
    file = group / ("zarr.json" if (group / "zarr.json").exists() else ".zattrs")
    node = json.loads(file.read_text())
    for dataset in node.get("attributes", {}).get("ome", node)["multiscales"][0]["datasets"]:
        dataset["coordinateTransformations"][1]["translation"][-1] += SCALE[2]
    file.write_text(json.dumps(node))
    labels = read_labels(store, "cells")
    with seeing(chromium, make_scene(tmp_path / "off.zarr")) as sight:
        seen = sight.plane(10, show=["cells"])
        assert wrong_voxels(seen, labels[10]) > 100
        assert wrong_voxels(seen[:, 1:], labels[10][:, :-1]) == 0


def test_a_movie_of_0_1_its_labels_elsewhere_and_its_kept_maps(chromium, movie_store, random_model, tmp_path):
    """No scale, no axes, labels in a store of their own; maps on a coarser grid, one array a time point."""
    out, work = tmp_path / "out.zarr", tmp_path / "work"
    settings = {"diameter_um": 10.0, "scale_um": (1.0, 1.0, 1.0), "min_volume": 2, "block": (20, 40, 40)}
    more = {"keep_maps": True, "executor": "serial", "output": out, "work_dir": work}
    bigcp3d.segment(movie_store, model=random_model, **settings, **more)
    labels, z = read_labels(out, "cells"), 5
    with seeing(chromium, with_maps(make_scene(out), work)) as sight:
        assert not any(sight.errors().values())
        for time in (1, 0):
            assert wrong_voxels(sight.plane(z, show=["cells"], time=time), labels[time, z]) == 0
            maps = zarr.open_array(work / f"t{time}" / "maps", mode="r")[:, z // 2].repeat(2, 1).repeat(2, 2)
            if time == 1:
                seen = sight.plane(z, show=["cells: foreground"], time=time)[..., 0]
                assert far_voxels(seen, maps[0], 0, 127) == 0
                assert far_voxels(seen, np.roll(maps[0], 1, axis=1), 0, 127) > 50
        seen = sight.plane(z, show=["cells: flow z", "cells: flow y", "cells: flow x"], time=0)
        assert [far_voxels(seen[..., i], maps[1 + i], -127, 127) for i in range(3)] == [0, 0, 0]
    assert not np.array_equal(labels[0, z], labels[1, z])


def test_a_store_in_s3_is_shown_through_this_machine(chromium, store, s3):
    """The browser asks 127.0.0.1 alone (`seeing` looks), so it needs neither credentials nor a bucket's permission."""
    address, maps = f"{s3}/some/image.zarr", f"{s3}/maps.zarr"
    for folder, there in ((store, address), (store.parent / "maps.zarr", maps)):
        for path in (path for path in folder.rglob("*") if path.is_file()):
            (place(there) / path.relative_to(folder).as_posix()).write_bytes(path.read_bytes())
    labels, image, z = read_labels(store, "cells"), voxels(1), 10
    with seeing(chromium, with_maps(make_scene(address), maps)) as sight:
        assert not any(sight.errors().values())
        assert wrong_voxels(sight.plane(z, show=["cells"]), labels[z]) == 0
        channel = make_scene(address).images[0].channels[1]
        colour = sight.plane(z, show=[channel.name])
        assert far_voxels(colour[..., 0], image[z], channel.low, channel.high) == 0
        foreground = sight.plane(z, show=["cells: foreground"])[..., 0]
        assert far_voxels(foreground, ball_maps()[0][z], 0, 127) == 0
