"""``bigcp3d view`` from the command line: what it prints, what it refuses, and how it ends."""

import os
import signal
import subprocess
import sys
from functools import partial
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner

from bigcp3d.face.cli import app
from bigcp3d.face.commands import view as view_command
from bigcp3d.face.commands.view import ssh_command
from tests.edge.conftest import Stores
from tests.edge.labels.test_image_and_labels import write_labels


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = Stores(tmp_path_factory.mktemp("view")).image("0.5")
    write_labels(path)
    return path


def run(*words):
    return CliRunner().invoke(app, ["view", *map(str, words)], env={"COLUMNS": "200"})


def test_it_serves_until_it_is_interrupted_and_ends_cleanly(image):
    pytest.importorskip("neuroglancer")
    command = [sys.executable, "-m", "bigcp3d.face.cli", "view", str(image), "--print-url"]
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a job in a shell's background ignores Ctrl-C
    began = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}, preexec_fn=heeds
    )
    try:
        url = began.stdout.readline().strip()
        with urlopen(url, timeout=20) as page:
            assert page.status == 200
        assert "ssh -N -L" in began.stdout.readline()
        while "Ctrl-C" not in began.stderr.readline():
            pass
        began.send_signal(signal.SIGINT)
        words = began.communicate(timeout=30)[1]
        assert (began.returncode, words.strip().splitlines()[-1]) == (0, "closed")
    finally:
        began.kill()
        began.communicate()


def test_the_way_from_another_machine_carries_both_ports():
    words = ssh_command((8765, 8766)).split()
    assert words[:6] == ["ssh", "-N", "-L", "8765:127.0.0.1:8765", "-L", "8766:127.0.0.1:8766"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--name", "nuclei"], "found no labels 'nuclei'; there are: cells"),
        (["--maps"], "did not write"),
        (["--napari", "--port", "80"], "leave out the options of the browser"),
    ],
)
def test_what_cannot_be_shown_is_said_before_anything_is_served(image, words, message, monkeypatch):
    pytest.importorskip("neuroglancer")
    monkeypatch.setattr("bigcp3d.face.view.neuroglancer_view.serving", None)
    done = run(image, *words)
    assert done.exit_code == 2
    assert message in done.stderr


def test_without_neuroglancer_one_line_says_how_to_get_it(image, monkeypatch):
    monkeypatch.setitem(sys.modules, "neuroglancer", None)
    done = run(image)
    assert done.exit_code == 2
    assert "pip install 'bigcp3d[view]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_without_napari_one_line_says_how_to_get_it(image, monkeypatch):
    monkeypatch.setitem(sys.modules, "napari", None)
    monkeypatch.setattr(view_command, "has_screen", lambda: True)
    done = run(image, "--napari")
    assert done.exit_code == 2
    assert "pip install 'bigcp3d[napari]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
