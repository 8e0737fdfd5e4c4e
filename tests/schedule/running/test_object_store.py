"""Whole runs from and into object stores: the labels are those of a local run, element by element."""

from __future__ import annotations

import os
from pathlib import Path

import dask.config
import numpy as np
import pytest
import yaozarrs
from ome_zarr_models import open_ome_zarr

import bigcp3d
from bigcp3d.edge.cell_tables.cell_files import check_cell_file
from bigcp3d.edge.image.image import open_image, open_labels
from bigcp3d.edge.image.new_image import create_image, write_image_box
from bigcp3d.edge.image.voxels import read_box
from bigcp3d.edge.labels.label_list import enter_label
from bigcp3d.edge.stores.places import place
from bigcp3d.errors import InputError, TargetError
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.tissue.tissue_settings import Tissue
from tests.object_stores import KEY, SECRET, Proxy, copy_store, files_of, forget_connections, serving
from tests.processes import quick_workers
from tests.schedule import conftest
from tests.schedule.conftest import tissue_values, write_image

SHAPE = (30, 44, 40)
CUT = {**conftest.CUT, "block": (17, 44, 26)}


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    return tissue_values(SHAPE)


def labels_of(store: str | Path, name: str = "cells") -> np.ndarray:
    info = open_labels(store, name)
    return read_box(info, 0, Box.of_shape(info.levels[0].shape))


@pytest.fixture(scope="module")
def local_image(values, random_model, tmp_path_factory) -> Path:
    """A local image, its labels, and its maps in the work directory `work`, all in one block."""
    path = tmp_path_factory.mktemp("local") / "image.zarr"
    write_image(path, values)
    whole = {**CUT, "block": (99, 99, 99), "work_dir": path.parent / "work"}
    bigcp3d.segment(path, **whole, model=random_model, keep_maps=True)
    return path


@pytest.fixture(scope="module")
def local(local_image) -> np.ndarray:
    """Labels of a local image, in one block."""
    labels = labels_of(local_image)
    assert labels.max() > 20
    return labels


@pytest.fixture(scope="module")
def local_maps(local_image) -> Path:
    return local_image.parent / "work" / "t0" / "maps"


def keep_store(address: str, folder: Path) -> Path:
    """A store as files, for validators that read these alone."""
    for spot in walk(place(address)):
        file = folder / str(spot).removeprefix(f"{address}/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(spot.read_bytes())
    return folder


def walk(spot):
    for child in spot.iterdir():
        yield from (child,) if child.is_file() else walk(child)


@pytest.mark.parametrize("version", [pytest.param("0.4", marks=pytest.mark.slow), "0.5"])
def test_labels_in_a_bucket_are_those_of_the_local_run(
    s3, version, values, local, local_maps, random_model, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    source = f"{s3}/lab/image.zarr"
    write_image(source, values, version=version)
    workers = {**CUT, "executor": "dask", "workers": 1} if version == "0.5" else CUT
    access = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    with quick_workers(), dask.config.set({"distributed.nanny.environ": access}):
        summary = bigcp3d.segment(source, **workers, model=random_model)
    assert summary.labels == f"{source}/labels/cells"
    assert np.array_equal(labels_of(source), local)
    assert open_image(source).label_names == ("cells",)
    assert not list(tmp_path.glob("*.bigcp3d")), "the work directory in the current directory has gone"
    assert [spot.name for spot in place(s3).iterdir()] == ["lab"]
    with pytest.raises(TargetError, match="there are labels of that name"):
        bigcp3d.segment(source, **CUT, model=random_model)
    other = {**CUT, "block": (30, 20, 40), "maps": local_maps}
    bigcp3d.segment(source, **other, model=random_model, overwrite=True)
    assert np.array_equal(labels_of(source), local)
    folder = keep_store(source, tmp_path / "kept" / "image.zarr")
    open_ome_zarr(str(folder))
    open_ome_zarr(str(folder / "labels" / "cells"))
    if version == "0.5":
        yaozarrs.validate_zarr_store(str(folder / "labels" / "cells"))


def test_a_run_that_failed_is_carried_on_by_the_same_command(
    s3, s3_server, values, local, local_maps, random_model, tmp_path, monkeypatch
):
    """What is done is found again in the current directory, and not done again."""
    settings = {**CUT, "model": random_model, "maps": local_maps}
    monkeypatch.chdir(tmp_path)
    source = f"{s3}/image.zarr"
    write_image(source, values)
    from bigcp3d.work.passes import passes

    done: list[str] = []
    for name in ("track", "label"):
        monkeypatch.setitem(passes.PASSES, name, counting(passes.PASSES[name], name, done))
    proxy = Proxy(s3_server)
    with serving(proxy.handler()) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        forget_connections()
        proxy.deny_path = "/labels/cells/0/c/1"  # noticed when half of the labels are written
        with pytest.raises(bigcp3d.errors.BlockError, match=r"access was denied \(AccessDenied\)") as caught:
            bigcp3d.segment(source, **settings)
        first = len(done)
        assert (tmp_path / f"{source.removeprefix('s3://').removesuffix('.zarr').replace('/', '-')}.bigcp3d").is_dir()
        assert open_image(source).label_names == ()
        proxy.deny_path = ""
        bigcp3d.segment(source, **settings)
    assert KEY not in str(caught.value)
    assert done.count("track") == done[:first].count("track") > 0
    assert np.array_equal(labels_of(source), local)


def counting(function, name, done):
    def counted(*arguments):
        counts = function(*arguments)
        done.append(name)
        return counts

    return counted


def test_labels_go_to_another_bucket_and_maps_come_from_one(s3, local_image, local, local_maps, random_model, tmp_path):
    copy_store(local_maps, place(s3) / "maps")
    summary = bigcp3d.segment(
        local_image,
        **CUT,
        model=random_model,
        maps=f"{s3}/maps",
        output=f"{s3}/out.zarr",
        work_dir=tmp_path / "other",
    )
    assert summary.labels == f"{s3}/out.zarr/labels/cells"
    assert np.array_equal(labels_of(f"{s3}/out.zarr"), local)
    assert bigcp3d.evaluate(f"{s3}/out.zarr", local_image, truth_name="cells")["mean_dice"] == 1


def test_a_web_server_is_read_and_labels_go_elsewhere(values, local, random_model, tmp_path):
    write_image(tmp_path / "web" / "image.zarr", values)
    with serving(files_of(tmp_path / "web")) as host:
        with pytest.raises(InputError, match=r"this image is on a web server .*--output"):
            bigcp3d.segment(f"{host}/image.zarr", **CUT, model=random_model)
        bigcp3d.segment(f"{host}/image.zarr", **CUT, model=random_model, output=tmp_path / "out.zarr")
    forget_connections()
    assert np.array_equal(labels_of(tmp_path / "out.zarr"), local)


def test_answers_503_and_slow_ones_change_nothing(s3, s3_server, values, local, random_model, tmp_path, monkeypatch):
    proxy = Proxy(s3_server)
    write_image(f"{s3}/image.zarr", values)
    with serving(proxy.handler()) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        forget_connections()
        proxy.fail_every, proxy.delay_s = 5, 0.005
        one_block = {**CUT, "block": SHAPE, "work_dir": tmp_path / "work"}
        bigcp3d.segment(f"{s3}/image.zarr", **one_block, model=random_model)
        assert proxy.failed > 20
        assert np.array_equal(labels_of(f"{s3}/image.zarr"), local)
    forget_connections()


def test_a_bucket_that_cannot_be_written_is_refused_before_any_work(
    s3, s3_server, values, random_model, tmp_path, monkeypatch
):
    write_image(f"{s3}/image.zarr", values)
    proxy = Proxy(s3_server)
    with serving(proxy.handler()) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        forget_connections()
        proxy.deny = ("PUT",)
        with pytest.raises(TargetError, match="access was denied"):
            bigcp3d.segment(f"{s3}/image.zarr", **CUT, model=random_model, work_dir=tmp_path / "work")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    forget_connections()
    assert not list((tmp_path / "work").glob("run-*"))
    with pytest.raises(InputError, match=r"address, and --work-dir must be a local path"):
        bigcp3d.segment(f"{s3}/image.zarr", **CUT, model=random_model, work_dir=f"{s3}/work")
    with pytest.raises(InputError, match="no such bucket"):
        bigcp3d.segment(f"{s3}/image.zarr", **CUT, model=random_model, output="s3://no-such-bucket-here/out.zarr")


@pytest.mark.parametrize(("version", "remembered"), [("0.5", True), ("0.5", False)])
def test_no_chunk_is_read_twice_by_one_task(s3, s3_server, version, remembered, random_model, tmp_path, monkeypatch):
    """Two layers of patches a block, in chunks that fit neither; and the control, in which nothing is remembered."""
    from bigcp3d.edge.stores import read_cache as memory
    from bigcp3d.work.passes import passes

    values = tissue_values((66, 30, 30))
    pieces = {"chunk": (12, 12, 12), "shard": (24, 24, 24), "version": version}
    image = create_image(f"{s3}/image.zarr", values.shape, "uint16", scale_um=None, **pieces)
    write_image_box(image, Box.of_shape(values.shape), values)
    proxy = Proxy(s3_server)
    asked = {}
    if not remembered:
        monkeypatch.setattr(memory, "REMEMBERED_BYTES", 0)
    read = ("normalise", "predict", "track")
    for name in read:
        monkeypatch.setitem(passes.PASSES, name, watching(passes.PASSES[name], name, proxy, asked))
    monkeypatch.setitem(passes.PASSES, "cluster", stop)
    with serving(proxy.handler()) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        forget_connections()
        more = {**CUT, "block": (66, 30, 30), "work_dir": tmp_path / "work"}
        with pytest.raises(KeyboardInterrupt):  # what follows reads no image
            bigcp3d.segment(f"{s3}/image.zarr", **more, model=random_model)
    forget_connections()
    assert {name for name, _ in asked} == set(read)
    assert all(bool(chunks) == (name != "track") for (name, _), chunks in asked.items()), "tracking reads no image"
    most = max(max(chunks.values()) for chunks in asked.values() if chunks)
    assert most == 1 if remembered else most > 1


def stop(run, time, index):
    raise KeyboardInterrupt


def watching(function, name, proxy, asked):
    def watched(run, time, index):
        proxy.requests.clear()
        counts = function(run, time, index)
        chunks = proxy.count("GET", "/image.zarr/0/")
        asked[name, index] = type(chunks)({key: n for key, n in chunks.items() if key[0][-1].isdigit()})
        return counts

    return watched


def test_credentials_are_written_nowhere(s3, values, random_model, tmp_path, caplog, capfd, monkeypatch):
    """Neither into the store, the work directory, the log, nor on the screen; and a control that is found."""
    from typer.testing import CliRunner

    from bigcp3d.face.cli import app

    monkeypatch.chdir(tmp_path)
    write_image(f"{s3}/image.zarr", values)
    caplog.set_level("DEBUG", "bigcp3d")
    work = ["--work-dir", str(tmp_path / "work"), "--model", random_model, "--diameter", "as-is"]
    work += ["--serial", "-v", "--keep-maps"]
    done = CliRunner().invoke(app, ["segment", f"{s3}/image.zarr", *work])
    assert done.exit_code == 0, done.output
    store = keep_store(f"{s3}/image.zarr", tmp_path / "kept")
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    text = "".join((done.output, caplog.text, *capfd.readouterr())).encode()
    assert any(s3.encode() in content for content in written), "the control: the address is found"
    assert (store / "labels" / "cells" / "zarr.json").is_file()
    for secret in (KEY, SECRET, SECRET.replace("/", "%2F")):
        assert secret.encode() not in text
        assert not any(secret.encode() in content for content in written)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == SECRET


def test_files_that_are_no_stores_stay_on_a_disk(s3, tmp_path, monkeypatch):
    """Refused before anything is read; and no folder named ``s3:`` is made."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="address, and the model's file must be"):
        bigcp3d.train([f"{s3}/a.zarr"], f"{s3}/mine.safetensors")
    with pytest.raises(InputError, match="address, and a file must be"):
        check_cell_file(f"{s3}/cells.csv", overwrite=False)
    with pytest.raises(InputError, match="address, and the place of a simulation must be"):
        bigcp3d.simulate(f"{s3}/t.zarr", Tissue(shape=(8, 8, 8)))
    assert not list(tmp_path.iterdir())


def test_two_that_finish_at_once_are_both_listed(s3, values):
    import threading

    from bigcp3d.edge.labels.label_plan import plan_labels
    from bigcp3d.edge.labels.labels import create_labels, finish_labels

    image = write_image(f"{s3}/image.zarr", values)
    targets = [plan_labels(image, None, f"cells{n}", shard=SHAPE) for n in range(4)]
    for target in targets:
        create_labels(target, overwrite=False)
    threads = [threading.Thread(target=finish_labels, args=(t,), kwargs={"attributes": {}}) for t in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    enter_label(targets[0])
    assert sorted(open_image(image.path).label_names) == ["cells0", "cells1", "cells2", "cells3"]
