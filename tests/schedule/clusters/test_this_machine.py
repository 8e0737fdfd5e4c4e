"""What this machine can do, asked without torch, which takes seconds to import."""

import subprocess
import sys

import pytest

from bigcp3d.schedule.clusters import this_machine


def fresh(code):
    """The last line that a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


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
