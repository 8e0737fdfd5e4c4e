"""A store of balls, and viewers without a window; skipped where napari is not installed."""

import warnings

import pytest

from tests.schedule.edits.conftest import ball_store, store

__all__ = ["ball_store", "store"]

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    napari = pytest.importorskip("napari", reason="napari is not installed")


@pytest.fixture
def viewer(store):
    """A viewer model with the store of balls."""
    from napari.components import ViewerModel

    from bigcp3d.face.napari.reader import read_store

    model = ViewerModel()
    for data, shown, kind in read_store(str(store.path)):
        getattr(model, f"add_{kind}")(data, **shown)
    return model
