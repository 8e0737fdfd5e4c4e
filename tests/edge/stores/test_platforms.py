"""Fallbacks for Windows, macOS and simple file systems, on a simulated platform. None was run on such a machine."""

from __future__ import annotations

import ast
import builtins
import errno
import os
import shutil
import signal
import sys
import zipfile
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

import bigcp3d
from bigcp3d.edge.labels.check_target import check_target
from bigcp3d.edge.labels.label_plan import check_name
from bigcp3d.edge.stores import platforms
from bigcp3d.edge.stores.atomic_files import create_atomically, sync_file, write_atomically
from bigcp3d.edge.stores.zip_place import ZipPlace, in_archive
from bigcp3d.errors import InputError, TargetError
from bigcp3d.schedule.clusters.dask_lines import without_ctrl_c

SYSTEM_OPEN, SYSTEM_REPLACE, SYSTEM_FSYNC = os.open, os.replace, os.fsync


@pytest.fixture
def windows(monkeypatch):
    """Windows: folders cannot be opened, only files opened for writing are synced, and modules are missing."""
    fcntl = pytest.importorskip("fcntl")

    def open_file(path, flags, *args, **kwargs):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return SYSTEM_OPEN(path, flags, *args, **kwargs)

    def sync(handle):
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        SYSTEM_FSYNC(handle)

    monkeypatch.setattr(platforms, "WINDOWS", True)
    monkeypatch.setattr(platforms, "WAITS_S", (0.0, 0.0))
    monkeypatch.setattr(os, "open", open_file)
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(shutil, "_use_fd_functions", False)  # Linux removes a tree by open folders
    with_modules(monkeypatch, fcntl=None, resource=None)


def with_modules(monkeypatch, **modules):
    """Stand-ins for modules that only some systems have; None where a system lacks one."""
    monkeypatch.setattr(platforms, "_module", modules.get)


def is_held(times):
    """An action that a reader holds up, and then not."""
    tries = iter([True] * times + [False])

    def replace(*names):
        if next(tries):
            raise PermissionError(errno.EACCES, "The process cannot access the file")
        SYSTEM_REPLACE(*names)

    return replace


def test_files_are_synced_without_opening_folders(windows, tmp_path):
    (tmp_path / "chunk").write_bytes(b"1")
    sync_file(tmp_path / "chunk")
    sync_file(tmp_path / "missing")


def test_linux_also_syncs_the_folder(tmp_path):
    assert [name for name, _ in platforms.to_sync(tmp_path / "chunk")] == [tmp_path / "chunk", tmp_path]


@pytest.mark.parametrize("times", [1, 2])
def test_a_file_that_a_reader_holds_open_is_replaced_later(windows, monkeypatch, tmp_path, times):
    (tmp_path / "record").write_bytes(b"old")
    monkeypatch.setattr(os, "replace", is_held(times))
    write_atomically(tmp_path / "record", lambda file: file.write(b"new"))
    assert (tmp_path / "record").read_bytes() == b"new"


def test_a_file_that_is_held_for_long_is_an_error_and_leaves_nothing(windows, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "replace", is_held(3))
    with pytest.raises(PermissionError):
        write_atomically(tmp_path / "record", lambda file: file.write(b"new"))
    assert list(tmp_path.iterdir()) == []


def test_elsewhere_a_missing_permission_is_told_at_once(monkeypatch, tmp_path):
    monkeypatch.setattr(platforms, "WINDOWS", False)
    monkeypatch.setattr(os, "replace", is_held(1))
    with pytest.raises(PermissionError):
        write_atomically(tmp_path / "record", lambda file: file.write(b"new"))


def test_one_of_several_creates_a_file_where_there_are_no_hard_links(monkeypatch, tmp_path):
    def link(*names):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    assert create_atomically(tmp_path / "lock", lambda file: file.write(b"first"))
    assert not create_atomically(tmp_path / "lock", lambda file: file.write(b"second"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"lock": b"first"}


def test_other_errors_of_links_are_told(monkeypatch, tmp_path):
    def link(*names):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(OSError, match="No space"):
        create_atomically(tmp_path / "lock", lambda file: file.write(b"first"))


def test_macos_syncs_down_to_the_disk(monkeypatch, tmp_path):
    asked = []
    with_modules(monkeypatch, fcntl=SimpleNamespace(F_FULLFSYNC=51, fcntl=lambda handle, what: asked.append(what)))
    write_atomically(tmp_path / "record", lambda file: file.write(b"1"))
    assert asked == [51]


def test_macos_on_a_network_share_syncs_as_others_do(monkeypatch, tmp_path):
    def refuse(handle, what):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    done = []
    monkeypatch.setattr(os, "fsync", done.append)
    with_modules(monkeypatch, fcntl=SimpleNamespace(F_FULLFSYNC=51, fcntl=refuse))
    write_atomically(tmp_path / "record", lambda file: file.write(b"1"))
    assert len(done) == 1


def test_windows_locks_a_conversion(windows, monkeypatch):
    held = set()

    def locking(handle, mode, count):
        if held:
            raise PermissionError(errno.EACCES, "Permission denied")
        held.add(handle)

    with_modules(monkeypatch, msvcrt=SimpleNamespace(LK_NBLCK=2, locking=locking))
    assert platforms.try_lock(7)
    assert not platforms.try_lock(8)


def test_linux_locks_a_conversion(tmp_path):
    one, two = (os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(2))
    assert platforms.try_lock(one)
    assert not platforms.try_lock(two)
    os.close(one)
    os.close(two)


def test_a_system_without_locks_says_so(monkeypatch):
    with_modules(monkeypatch)
    with pytest.raises(OSError, match="no locks"):
        platforms.try_lock(7)


def test_the_peak_of_memory_is_known_on_each_system(windows, monkeypatch):
    import psutil

    said = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=123))
    monkeypatch.setattr(psutil, "Process", lambda: said)
    assert platforms.peak_bytes() == 123
    used = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: SimpleNamespace(ru_maxrss=5))
    with_modules(monkeypatch, resource=used)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert platforms.peak_bytes() == 5  # macOS counts bytes
    monkeypatch.setattr(sys, "platform", "linux")
    assert platforms.peak_bytes() == 5 * 1024


def test_windows_limits_paths_unless_long_paths_are_turned_on(monkeypatch):
    asked, values = [], []

    def query(key, name):
        asked.append((key, name))
        if values[-1] is None:
            raise FileNotFoundError(name)
        return values[-1], 4

    registry = SimpleNamespace(HKEY_LOCAL_MACHINE="machine", OpenKey=lambda *key: nullcontext(key), QueryValueEx=query)
    with_modules(monkeypatch, winreg=registry)
    assert platforms.path_limit() is None, "Linux has no limit that matters"
    monkeypatch.setattr(platforms, "WINDOWS", True)
    for value, limit in ((1, None), (0, 259), (None, 259)):
        values.append(value)
        assert platforms.path_limit() == limit
    key = ("machine", r"SYSTEM\CurrentControlSet\Control\FileSystem")
    assert asked == [(key, "LongPathsEnabled")] * 3
    with_modules(monkeypatch)
    assert platforms.path_limit() == 259


def test_workers_start_also_where_signals_cannot_be_held_back(monkeypatch):
    mask = signal.pthread_sigmask
    with without_ctrl_c():
        assert signal.SIGINT in mask(signal.SIG_BLOCK, ())
    assert signal.SIGINT not in mask(signal.SIG_BLOCK, ())
    monkeypatch.delattr(signal, "pthread_sigmask")
    with without_ctrl_c():
        assert signal.SIGINT not in mask(signal.SIG_BLOCK, ())


def test_commands_to_paste_have_the_quotes_of_the_shell(monkeypatch):
    words = ["bigcp3d", "view", r"C:\my data\a.zarr"]
    assert platforms.join_words(words) == r"bigcp3d view 'C:\my data\a.zarr'"
    monkeypatch.setattr(platforms, "WINDOWS", True)
    assert platforms.join_words(words) == r'bigcp3d view "C:\my data\a.zarr"'


def test_a_path_into_an_archive_may_have_backslashes_on_windows(monkeypatch, tmp_path):
    archive = tmp_path / "a.ozx"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("labels/cells/zarr.json", "{}")
    path = str(archive / "labels" / "cells").replace("/", "\\")
    assert in_archive(path) is None, "elsewhere, a name may have a backslash"
    monkeypatch.setattr(os, "sep", "\\")
    assert in_archive(path) == (str(archive), "labels/cells")
    assert (ZipPlace(*in_archive(path)) / "zarr.json").read_bytes() == b"{}"


@pytest.mark.parametrize("name", ["con", "NUL", "aux.v2", "a:b", "what?", "cells."])
def test_names_that_windows_cannot_have_are_refused_there_alone(monkeypatch, name):
    check_name(name)
    monkeypatch.setattr(platforms, "WINDOWS", True)
    with pytest.raises(InputError, match="cannot be the name of a folder on Windows"):
        check_name(name)
    check_name("console")


def test_labels_whose_name_differs_by_capital_letters_are_refused_where_that_is_one_name(monkeypatch, tmp_path):
    from bigcp3d.edge.labels import check_target as module

    (tmp_path / "labels" / "Cells").mkdir(parents=True)
    (tmp_path / "labels" / "cells").symlink_to("Cells")  # so both names lead to one folder
    monkeypatch.setattr(module.os, "listdir", lambda folder: ["Cells"])
    monkeypatch.setattr(module, "_check_store", lambda target: None)
    with pytest.raises(TargetError, match="apart, and labels 'Cells' exist"):
        check_target(SimpleNamespace(path=tmp_path / "labels" / "cells"), overwrite=True)


@pytest.mark.slow
def test_a_run_on_simulated_windows_ends_and_leaves_nothing(windows, monkeypatch, tmp_path):
    """Nothing in a run opens a folder, or needs a module that Windows lacks."""

    def import_module(name, *args, **kwargs):
        if name in ("fcntl", "pwd", "grp"):
            raise ImportError(name)
        return system_import(name, *args, **kwargs)

    system_import = builtins.__import__
    image = tmp_path / "tissue.zarr"
    bigcp3d.simulate(image, bigcp3d.Tissue(shape=(8, 32, 32)))
    monkeypatch.setattr(builtins, "__import__", import_module)
    bigcp3d.segment(image, model="membrane", diameter_um="as-is", executor="serial", block=(8, 16, 32))
    assert sorted(path.name for path in (image / "labels").iterdir()) == ["cells", "truth", "zarr.json"]
    assert not (tmp_path / "tissue.bigcp3d").exists()


def test_text_files_are_utf_8_on_each_system():
    """Windows has another default."""
    bare = []
    for path in Path(bigcp3d.__file__).parent.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") in ("read_text", "write_text"):
                bare += [f"{path}:{call.lineno}"] * all(word.arg != "encoding" for word in call.keywords)
    assert bare == []
