"""Services that the tests start on loopback, each with all its files in a temporary folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

import bigcp3d
from tests.schedule.conftest import Case

ROOT = Path(bigcp3d.__file__).parents[1]
CUT = {"block": (34, 60, 26), "min_volume": 2, "diameter_um": "as-is"}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, one after the other."""
    with ExitStack() as stack:
        while True:
            first = 20000 + int.from_bytes(os.urandom(2)) % 10000
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return list(range(first, first + count))


@contextmanager
def running(command: list[str], **more) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended afterwards: its stdin is closed, then it is asked to end, then made to."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, **more)
    try:
        yield process
    finally:
        process.stdin.close()
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def listening(processes: Iterable[psutil.Process]) -> set[tuple[str, int]]:
    """Addresses and ports on which any of them listens."""
    found = [c for process in processes for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    return {(connection.laddr.ip, connection.laddr.port) for connection in found}


@pytest.fixture(scope="session")
def whole(tissue_store, random_model, tmp_path_factory):
    """Labels of the serial run over one block that holds the volume."""
    labels = Case(tissue_store, random_model, tmp_path_factory.mktemp("whole")).whole()
    assert labels.max() > 100
    return labels


@pytest.fixture(scope="session")
def slurm(tmp_path_factory) -> Iterator[Path]:
    """A SLURM of one node on loopback; its slurm.conf, which ``sbatch`` finds."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    missing = [word for word in ("sbatch", "slurmctld", "slurmd", "munged") if shutil.which(word, path=path) is None]
    if missing or os.getuid() != 0:
        pytest.skip(f"no SLURM here (missing: {missing or 'root'}); apt-get install slurm-wlm munge")
    folder, port = tmp_path_factory.mktemp("slurm"), free_ports(2)[0]
    with (
        (folder / "log").open("w") as log,
        running([str(ROOT / "tests/services/slurm.sh"), str(folder), str(port)], stdout=-1, stderr=log) as process,
        pytest.MonkeyPatch.context() as patch,
    ):
        answer = process.stdout.readline().strip()
        assert answer, (folder / "log").read_text()[-2000:]
        patch.setenv("SLURM_CONF", answer)
        yield Path(answer)


@pytest.fixture(scope="session")
def sshd(tmp_path_factory) -> Iterator[dict[str, str | int]]:
    """An SSH server on loopback with keys of its own; what a file of --cluster-config says of it."""
    program = shutil.which("sshd", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))
    if program is None or os.getuid() != 0:
        pytest.skip("no sshd here, or not root; apt-get install openssh-server")
    folder, (port,) = tmp_path_factory.mktemp("sshd"), free_ports(1)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    lines = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": "none",
        "PasswordAuthentication": "no",
        "StrictModes": "no",
        "SetEnv": f"PYTHONPATH={ROOT} OMP_NUM_THREADS=1",
    }
    (folder / "config").write_text("\n".join(f"{name} {value}" for name, value in lines.items()) + "\n")
    Path("/run/sshd").mkdir(exist_ok=True)  # Debian's sshd insists on it
    with (
        (folder / "log").open("w") as log,
        running([program, "-D", "-e", "-f", str(folder / "config")], stderr=log) as process,
    ):
        for _ in range(200):
            with socket.socket() as probe:
                if process.poll() is None and probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        yield {"port": port, "key": str(folder / "user"), "known_hosts": str(known), "python": sys.executable}
