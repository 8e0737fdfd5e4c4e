"""napari's own layers, without a window; skipped where napari is not installed."""

import os
import warnings

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("napari", reason="napari is not installed")
