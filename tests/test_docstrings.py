"""The docstrings of the public names: every argument is explained, and the examples run."""

import doctest
import inspect

import pytest

import bigcp3d
from bigcp3d.option import settings_of
from bigcp3d.schedule.planning.request import Request

FUNCTIONS = [name for name in bigcp3d._HOMES if inspect.isfunction(getattr(bigcp3d, name))]


def test_the_public_names_are_those_with_a_home_and_no_others_are_listed():
    assert sorted(bigcp3d.__all__) == sorted([*bigcp3d._HOMES, "__version__"]) == sorted(dir(bigcp3d))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_is_explained(name):
    function = getattr(bigcp3d, name)
    text = inspect.getdoc(function)
    assert "**arguments" not in text
    for argument in inspect.signature(function).parameters:
        assert f"\n{argument} : " in text or f"\n{argument}, " in text or f", {argument} : " in text, argument


def test_python_sees_the_names_that_python_has():
    text = inspect.getdoc(bigcp3d.segment)
    assert "radius_vox : float, optional\n" in text
    assert 'start : {"auto", "maps", "image"}, default ' in text.replace('"offsets", ', "")
    assert "Give radius_vox with it" in " ".join(text.split())
    assert list(inspect.signature(bigcp3d.segment).parameters) == [*settings_of(Request), "on_event"]


def test_the_examples_run(tmp_path, monkeypatch):
    """One after the other in one folder, as a reader would try them."""
    monkeypatch.chdir(tmp_path)
    tried = 0
    for name in FUNCTIONS:
        for test in doctest.DocTestFinder().find(getattr(bigcp3d, name), name, globs={"bigcp3d": bigcp3d}):
            result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
            assert not result.failed, f"{name}: see the output"
            tried += result.attempted
    assert tried >= 12
