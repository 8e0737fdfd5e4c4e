"""The cores and the memory that a container or a job of a queue allows."""

import math

import psutil
import pytest

from bigcp3d.pure.tissue.tissue_settings import Tissue
from bigcp3d.work import cores_and_memory, simulate

MIB = 2**20


@pytest.mark.parametrize(
    ("own", "limits", "memory", "cores"),
    [
        pytest.param("0::/", {"memory.max": 256 * MIB, "cpu.max": "100000 100000"}, 256 * MIB, 1, id="a container"),
        pytest.param(
            "0::/slurmstepd.scope/job_5/step_0/user/task_0",
            {
                "memory.max": "max",
                "slurmstepd.scope/job_5/memory.max": 64 * MIB,
                "slurmstepd.scope/job_5/cpu.max": "max 100000",
                "slurmstepd.scope/job_5/step_0/memory.max": 128 * MIB,
                "slurmstepd.scope/job_5/step_0/cpu.max": "150000 100000",
                "slurmstepd.scope/job_5/step_0/user/task_0/memory.max": "max",
                "slurmstepd.scope/job_6/memory.max": MIB,  # the job of another
            },
            64 * MIB,
            1.5,
            id="a job of SLURM",
        ),
        pytest.param(
            "4:memory:/slurm/uid_1/job_5\n2:cpu,cpuacct:/slurm/uid_1\n0::/x",
            {
                "memory/memory.limit_in_bytes": 2**63 - 4096,
                "memory/slurm/uid_1/job_5/memory.limit_in_bytes": 64 * MIB,
                "cpu/cpu.cfs_quota_us": -1,
                "cpu/slurm/cpu.cfs_quota_us": 200_000,
                "cpu/slurm/cpu.cfs_period_us": 100_000,
            },
            64 * MIB,
            2,
            id="a job of SLURM, cgroup 1",
        ),
        pytest.param(
            "4:memory:/docker/7f",  # the host's name of the group; the container sees it as the top one
            {"memory/memory.limit_in_bytes": 64 * MIB},
            64 * MIB,
            math.inf,
            id="a container, cgroup 1",
        ),
        pytest.param("0::/", {"memory.max": "max"}, None, math.inf, id="no limit"),
        pytest.param(None, {}, None, math.inf, id="not Linux"),
    ],
)
def test_the_least_limit_of_a_process_and_of_all_groups_above_it_counts(
    tmp_path, monkeypatch, own, limits, memory, cores
):
    for name, limit in limits.items():
        file = tmp_path / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{limit}\n")
    (tmp_path / "memory.max").write_text("1")  # outside: no limit of ours
    if own is not None:
        (tmp_path / "own").write_text(own + "\n")
    monkeypatch.setattr(cores_and_memory, "CONTROL_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(cores_and_memory, "OWN_GROUPS", tmp_path / "own")
    threads = []
    monkeypatch.setattr(simulate, "_fill", lambda *given: threads.append(given[-1]))
    simulate.simulate(tmp_path / "a.zarr", Tissue((8, 8, 8), 4.0, "nuclei"))
    assert threads == [min(4, cores_and_memory.default_workers())]
    here = memory or psutil.virtual_memory().total
    assert cores_and_memory.memory_per_worker(2) == int(0.9 * here / 2)
    assert cores_and_memory._cores_allowed() == cores
    assert cores_and_memory.default_workers() <= max(1, math.ceil(cores) if cores < math.inf else 10**6)
