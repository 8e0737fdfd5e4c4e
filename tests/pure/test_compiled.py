"""Compiled functions are kept on disk, and work where nothing can be written."""

from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core import caching

from bigcp3d.pure import compiled as module
from bigcp3d.pure.compiled import compiled
from bigcp3d.pure.group import closing


def double(x):
    return 2 * x


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="numba's compiler is off")
def test_the_functions_of_the_package_are_kept_on_disk():
    kept = [value for value in vars(closing).values() if isinstance(value, numba.core.dispatcher.Dispatcher)]
    assert kept
    assert all(value._cache.cache_path for value in kept)


def test_a_function_is_compiled_where_no_folder_can_be_written(monkeypatch):
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    with pytest.raises(RuntimeError, match="no locator"):  # the control: numba's own answer
        module.njit(cache=True)(double)
    assert compiled(double)(np.float32(2.5)) == 5.0


def test_all_functions_are_compiled_in_this_way():
    files = Path(module.__file__).parents[1].rglob("*.py")
    assert [path.name for path in files if "njit" in path.read_text(encoding="utf-8")] == ["compiled.py"]
