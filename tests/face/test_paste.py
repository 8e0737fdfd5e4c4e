"""Commands to paste lead to the voxel, the image and the time point that they are about."""

import shlex
import shutil

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.labels.label_plan import plan_labels
from bigcp3d.edge.labels.labels import create_labels, finish_labels, write_label_part
from bigcp3d.face.cli import app
from bigcp3d.face.paste import edit_command, view_command
from bigcp3d.face.view.scene import make_scene
from bigcp3d.pure.boxes import Box
from tests.schedule.edits.conftest import ball_labels, ball_store, store, write_labels

__all__ = ["ball_store", "store"]


@pytest.fixture
def coarse(store):
    """A store with labels of its level 1, "cells"."""
    shutil.rmtree(store.path / "labels")
    labels = ball_labels()[::2, ::2, ::2]
    target = plan_labels(open_image(store.path), None, "cells", shard=(16, 16, 16), level=1)
    create_labels(target, overwrite=True)
    write_label_part(target, 0, Box.of_shape(labels.shape), labels)
    finish_labels(target, attributes={})
    return store.path


def seen(command):
    """The scene that a view command opens."""
    words = shlex.split(command)
    assert words[:2] == ["bigcp3d", "view"]
    given = dict(zip(words[3::2], words[4::2], strict=True))
    return make_scene(words[2], at=given["--at"], image=given.get("--image"), time=int(given.get("--time", 0)))


def test_review_and_report_lead_to_the_cell_also_if_labels_are_coarser_than_the_image(coarse):
    said = CliRunner().invoke(app, ["review", str(coarse)], input="wq", catch_exceptions=False).stdout.splitlines()
    cell = int(said[1].split()[2])
    scene = seen(said[2].strip())
    at = tuple(int(v) // 2 for v in scene.at)
    array = np.asarray(zarr.open_array(coarse / "labels" / "cells" / "0", mode="r")[...])
    assert f"at {','.join(map(str, at))}:" in said[1]
    assert array[at] == cell
    labels = open_labels(coarse, "cells")
    assert seen(view_command(labels, open_image(coarse), (4, 6, 9), 0)).at == (9, 13, 19)
    assert seen(view_command(labels, None, (4, 6, 9), 0)).at == (4, 6, 9)


def test_an_image_that_labels_do_not_name_is_in_the_command(store, tmp_path):
    labels, own = open_labels(store.path, "cells"), open_image(store.path)
    shutil.copytree(store.path, tmp_path / "other.zarr")
    other = open_image(tmp_path / "other.zarr")
    assert "--image" not in view_command(labels, own, (1, 2, 3), 0)
    assert seen(view_command(labels, other, (1, 2, 3), 0)).images[0].info.path == other.path
    expected = f"bigcp3d edit {labels.path} delete 7 --image {other.path} --time 2"
    assert edit_command(labels, other, ["delete", 7], 2) == expected


def test_labels_of_another_name_need_no_option(store):
    write_labels(store.path, ball_labels(), name="nuclei")
    words = shlex.split(edit_command(open_labels(store.path, "nuclei"), open_image(store.path), ["delete", 3], 0))
    assert CliRunner().invoke(app, words[1:]).exit_code == 0
    assert 3 in store.levels()[0]
    assert 3 not in np.asarray(zarr.open_array(store.path / "labels" / "nuclei" / "0", mode="r")[...])
