"""The cores and the memory that a container allows."""

import builtins
import io
import sys

import pytest

from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work import simulate as simulate_module
from bigcp3d.work.cores_and_memory import default_workers, memory_per_worker


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has cgroups")
def test_a_container_has_the_cores_and_the_memory_that_its_limits_allow(monkeypatch, tmp_path):
    files = {
        "/sys/fs/cgroup/memory.max": str(2**28),
        "/proc/self/cgroup": "0::/",
        "/sys/fs/cgroup/cpu.max": "100000 100000",
    }
    real, threads = builtins.open, []

    def fake(path, *more, **options):
        return io.StringIO(files[path]) if path in files else real(path, *more, **options)

    monkeypatch.setattr(builtins, "open", fake)
    assert default_workers() == 1
    assert memory_per_worker(2) == int(0.9 * 2**28 / 2)
    monkeypatch.setattr(simulate_module, "_fill", lambda *given: threads.append(given[-1]))
    simulate_module.simulate(tmp_path / "a.zarr", Tissue((8, 8, 8), 4.0, "nuclei"))
    assert threads == [1]
    files["/sys/fs/cgroup/memory.max"] = "max"
    assert memory_per_worker(2) > 2**28
