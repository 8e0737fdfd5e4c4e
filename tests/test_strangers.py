"""Files from strangers run nothing, and name nothing outside their own folder.

Each file below would make a folder if anything unpickled it or read its YAML as code; the controls show that it would.
"""

from __future__ import annotations

import ast
import io
import json
import os
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
import zarr

import bigcp3d
from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.models.model_families import load_card, load_network
from bigcp3d.edge.workdir.records import read_record
from bigcp3d.edge.workdir.tables import read_table
from bigcp3d.errors import InputError
from bigcp3d.schedule.clusters.config import read_config
from bigcp3d.work.plan.plan import Plan
from bigcp3d.work.train.checkpoint import load_checkpoint

PACKAGE = Path(bigcp3d.__file__).parent
EXAMPLES = PACKAGE.parent / "examples"


class Mischief:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def trap(tmp_path):
    """A folder that is made if anything runs, and the bytes that would make it."""
    folder = tmp_path / "ran"
    content = pickle.dumps(Mischief(folder), protocol=2)  # as torch writes
    pickle.loads(content)
    assert folder.is_dir(), "the control: it does run"
    folder.rmdir()
    return folder, content


def npz(content: bytes) -> bytes:
    """A table with an array of Python objects."""
    member = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": (1,)}
    np.lib.format.write_array_header_1_0(member, header)
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("zyx.npy", member.getvalue() + content)
    return whole.getvalue()


READERS = {
    "table": lambda path: read_table(path),
    "record": lambda path: read_record(path.parent.parent, "track", (0, 0, 0)),
    "checkpoint": lambda path: load_checkpoint(path),
    "model's card": lambda path: load_card(str(path)),
    "model": lambda path: load_network(str(path), "cpu"),
    "Cellpose model": lambda path: load_card(f"cellpose:{path}"),
    "plan": lambda path: Plan.model_validate_json(path.read_bytes()),
    "cluster's file": lambda path: read_config("slurm", path),
}


@pytest.mark.parametrize("form", ["pickle", "npz", "torch", "yaml"])
@pytest.mark.parametrize("reader", READERS)
def test_no_file_runs_anything(trap, tmp_path, reader, form):
    folder, content = trap
    names = {"record": "track/0.0.0.json", "checkpoint": "file.checkpoint.pt"}
    path = tmp_path / names.get(reader, "file.safetensors")
    path.parent.mkdir(exist_ok=True)
    if form == "torch":
        torch.save(Mischief(folder), path)
    else:
        command = f"memory: !!python/object/apply:os.mkdir ['{folder}']\n"
        path.write_bytes({"pickle": content, "npz": npz(content), "yaml": command.encode()}[form])
        if form == "yaml":
            yaml.unsafe_load(command)
            folder.rmdir()  # the control
    with suppress(InputError, ValueError):  # a record that is none is as good as none; members of a zip are bytes
        READERS[reader](path)
    assert not folder.exists()


@pytest.mark.parametrize("place", ["compressor", "filters"])
def test_a_store_whose_codec_is_pickle_runs_nothing(trap, tmp_path, place):
    folder, content = trap
    store = tmp_path / "image.zarr"
    group = zarr.create_group(store, zarr_format=2)
    group.create_array("0", shape=(4, 4, 4), chunks=(4, 4, 4), dtype="uint16", compressors=None)
    group.attrs["multiscales"] = [{"version": "0.1", "datasets": [{"path": "0"}]}]
    metadata = json.loads((store / "0" / ".zarray").read_text())
    codec = {"id": "pickle", "protocol": 5}
    metadata |= {"compressor": codec} if place == "compressor" else {"filters": [codec]}
    (store / "0" / ".zarray").write_text(json.dumps(metadata))
    (store / "0" / "0.0.0").write_bytes(content)
    with pytest.raises(InputError, match="no readable array at level path '0'"):
        bigcp3d.segment(store, executor="serial", model="membrane", diameter_um="as-is", output=tmp_path / "out.zarr")
    assert not folder.exists()


def image(path: Path, dataset: str, labels: list[str]) -> None:
    """An image beside another one's arrays, whose metadata say where its own lie."""
    for name in (path, path.parent / "other.zarr"):
        group = zarr.create_group(name, zarr_format=2)
        group.create_array("0", shape=(4, 4, 4), chunks=(4, 4, 4), dtype="uint16")
        group.attrs["multiscales"] = [{"version": "0.4", "axes": list("zyx"), "datasets": [{"path": "0"}]}]
    group = zarr.open_group(path, mode="r+")
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": dataset}]}]
    group.create_group("labels").attrs["labels"] = labels


@pytest.mark.parametrize("path", ["../other.zarr/0", "0/../../other.zarr/0", "{}/other.zarr/0", "~/0", "file://x/0"])
def test_a_level_outside_the_store_is_refused(tmp_path, path):
    image(tmp_path / "image.zarr", path.format(tmp_path), [])
    with pytest.raises(InputError, match="leaves the store; correct"):
        open_image(tmp_path / "image.zarr")


def test_labels_outside_the_store_are_as_good_as_not_there(tmp_path):
    image(tmp_path / "image.zarr", "0", ["../../other.zarr", str(tmp_path / "other.zarr"), ".."])
    assert open_image(tmp_path / "image.zarr").label_names == ()
    with pytest.raises(InputError, match="there are no labels"):
        open_labels(tmp_path / "image.zarr", "cells")


@pytest.mark.parametrize(
    "name", ["../x", "..", "/tmp/x", "a/b", "a\\b", ".hidden", "", "__x", "zarr.json", "a\0b", " a"]
)
def test_a_name_of_labels_that_would_leave_the_store_is_refused(tmp_path, name):
    image(tmp_path / "image.zarr", "0", [])
    with pytest.raises(InputError, match="cannot be the name of labels"):
        bigcp3d.segment(tmp_path / "image.zarr", name=name, model="membrane", diameter_um="as-is", executor="serial")


def dangerous(source: str) -> list[str]:
    """Calls that run what they read, by their text."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            wrong = (
                called in ("eval", "exec", "compile", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load")
                or (
                    called.split(".")[0]
                    in ("pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "subprocess")
                    and called != "subprocess.list2cmdline"
                )  # makes a text
                or (called.endswith("torch.load") and given.get("weights_only") != "True")
                or (called.endswith("np.load") and given.get("allow_pickle", "False") != "False")
            )
            found += [ast.unparse(node)] if wrong else []
    return found


def test_the_package_calls_nothing_that_runs_what_it_reads():
    assert len(dangerous("pickle.load(f); torch.load(f); np.load(f, allow_pickle=True); yaml.load(f)")) == 4
    files = [*PACKAGE.rglob("*.py"), *EXAMPLES.rglob("*.py")]
    assert len(files) > 100
    assert {str(path): calls for path in files if (calls := dangerous(path.read_text()))} == {}
