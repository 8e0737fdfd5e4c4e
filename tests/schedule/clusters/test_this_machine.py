"""What this machine can do, asked without torch, which takes seconds to import."""

import math
import subprocess
import sys

import psutil
import pytest

from bigcp3d.schedule.clusters import this_machine


def fresh(code):
    """The last line that a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


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
    monkeypatch.setattr(this_machine, "CONTROL_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(this_machine, "OWN_GROUPS", tmp_path / "own")
    here = memory or psutil.virtual_memory().total
    assert this_machine.memory_per_worker(2) == int(0.9 * here / 2)
    assert this_machine._cores_allowed() == cores
    assert this_machine.default_workers() <= max(1, math.ceil(cores) if cores < math.inf else 10**6)


def test_the_precision_without_torch_is_the_one_that_torch_gives():
    from bigcp3d.pure.predict.run_network import fast_precision

    asked = "from bigcp3d.schedule.clusters.this_machine import device_here, precision_here\n"
    alone, device = fresh(asked + "print(precision_here(), device_here())").split()
    assert device == this_machine.device_here()
    assert alone == fast_precision(device)


@pytest.mark.parametrize(
    ("cpuinfo", "release", "machine", "known"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16\n", "4.18.0", "x86_64", True),
        ("flags\t\t: fpu amx_tile\n", "6.1.0", "x86_64", True),
        ("flags\t\t: fpu avx512f\nbugs: amx_tile\n", "6.1.0-13", "x86_64", False),
        ("flags\t\t: fpu avx512f\n", "3.10.0-1160", "x86_64", None),  # this kernel has no name for the instructions
        ("processor: 0\n", "6.1.0", "x86_64", None),
        (None, "10", "AMD64", None),  # not Linux
        (None, "23.1.0", "arm64", False),  # both names are of x86 instructions
    ],
)
def test_linux_says_whether_there_are_instructions_for_bfloat16(monkeypatch, cpuinfo, release, machine, known):
    def read_text(path, encoding=None):
        if cpuinfo is None:
            raise FileNotFoundError(path)
        return cpuinfo

    monkeypatch.setattr(this_machine.Path, "read_text", read_text)
    monkeypatch.setattr(this_machine.platform, "release", lambda: release)
    monkeypatch.setattr(this_machine.platform, "machine", lambda: machine)
    assert this_machine._has_bfloat16() is known


def test_torch_is_asked_where_it_is_loaded_and_where_nothing_else_can_tell(monkeypatch):
    import torch

    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    monkeypatch.setattr(this_machine, "device_here", lambda: "cpu")
    monkeypatch.setattr(this_machine, "_has_bfloat16", lambda: True)
    assert this_machine.precision_here() == "float32"  # the answer of torch, which is loaded
    monkeypatch.setattr(this_machine.sys, "modules", {k: v for k, v in sys.modules.items() if k != "torch"})
    assert this_machine.precision_here() == "bfloat16"
