"""Schedulers and workers as processes on loopback: mixed, over TLS, and listening nowhere else."""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from distributed import Client

import bigcp3d
from bigcp3d.errors import InputError
from bigcp3d.schedule.clusters.connect import _wait_for_one, connect
from bigcp3d.schedule.clusters.requested_machines import Machines
from bigcp3d.schedule.clusters.tls import load_security
from tests.processes import quick_workers
from tests.schedule.clusters.conftest import CUT, listening, running
from tests.schedule.conftest import read_labels
from tests.task_rows import TaskRows

STRANGER = r"Timed out|handshake|reset by peer|does not match"
PRIVATE = ["--dashboard-address", "127.0.0.1:0"]  # as deploy/README.md says


def dask(*words: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "dask", *words]


def start(stack: ExitStack, *more: str) -> str:
    """A scheduler on loopback that speaks TLS; its address."""
    words = ["scheduler", "--host", "127.0.0.1", "--port", "0", *PRIVATE, "--protocol", "tls", *more]
    process = stack.enter_context(running(dask(*words), stderr=subprocess.PIPE))
    for line in process.stderr:
        if found := re.search(r"Scheduler at:\s+(\S+)", line):
            Thread(target=lambda: [None for _ in process.stderr], daemon=True).start()  # or its pipe fills
            return found[1]
    raise AssertionError("no scheduler")


def join(stack: ExitStack, address: str, *more: str) -> None:
    """A worker of it, with a nanny unless ``more`` says otherwise."""
    words = ["worker", address, "--host", "127.0.0.1", "--nthreads", "1", "--memory-limit", "4GiB", *PRIVATE]
    stack.enter_context(running(dask(*words, *more), stderr=subprocess.DEVNULL))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Folders of TLS files by one authority, and by another."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def certificate(name, issuer, key, signer, *, ca):
        now = datetime.datetime.now(datetime.UTC)
        named = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, issuer)]
        public = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        signed_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = x509.CertificateBuilder().subject_name(named[0]).issuer_name(named[1]).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1)).add_extension(public, False)
        builder = builder.add_extension(signed_by, False).add_extension(x509.BasicConstraints(ca, None), True)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def folder(name: str) -> Path:
        made = tmp_path_factory.mktemp(name)
        root, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (made / "ca.pem").write_bytes(certificate(name, name, root, root, ca=True))
        (made / "cert.pem").write_bytes(certificate("me", name, own, root, ca=False))
        (made / "key.pem").write_bytes(own.private_bytes(*plain))
        return made

    return folder("ours"), folder("theirs")


def tls_words(folder: Path) -> list[str]:
    return ["--tls-ca-file", f"{folder}/ca.pem", "--tls-cert", f"{folder}/cert.pem", "--tls-key", f"{folder}/key.pem"]


@pytest.fixture(scope="module")
def mixed(authority):
    """A scheduler that speaks TLS, with a worker that offers a GPU and one that does not."""
    ours = authority[0]
    with ExitStack() as stack:
        address = start(stack, *tls_words(ours))
        join(stack, address, *tls_words(ours), "--name", "gpu", "--resources", "GPU=1")
        join(stack, address, *tls_words(ours), "--name", "cpu", "--no-nanny")
        with Client(address, set_as_default=False, security=load_security(ours)) as client:
            client.wait_for_workers(2, timeout=60)
        yield address


def test_on_a_mixed_cluster_over_tls_one_worker_predicts_and_the_labels_are_the_same(
    mixed, authority, whole, tissue_store, random_model, tmp_path
):
    settings = {"model": random_model, "output": tmp_path / "out.zarr", **CUT}
    rows = TaskRows()
    bigcp3d.segment(tissue_store, scheduler=mixed, tls=authority[0], on_event=rows.look, **settings)
    assert np.array_equal(read_labels(tmp_path / "out.zarr", "cells"), whole)
    with Client(mixed, set_as_default=False, security=load_security(authority[0])) as client:
        names = {worker["name"]: address for address, worker in client.scheduler_info()["workers"].items()}
        pids = {name: client.run(os.getpid, workers=[address])[address] for name, address in names.items()}
    assert pids.keys() == {"gpu", "cpu"}
    assert {row.worker.rpartition(":")[2] for row in rows if row.name == "predict"} == {str(pids["gpu"])}


def test_clusters_listen_on_loopback_alone(mixed):
    """One started by a run, and one started as deploy/README.md says."""
    with quick_workers(), connect(Machines(workers=1)) as client:
        me = psutil.Process()
        family = [me, *me.children(recursive=True)]
        # scheduler and workers of ``mixed``; where setproctitle is installed they rename themselves, and workers do too
        assert sum("dask" in " ".join(process.cmdline()) for process in me.children()) >= 3
        addresses = listening(family)
        assert client.dashboard_link.startswith("http://127.0.0.1:")
    assert len(addresses) >= 10, "the control: scheduler, dashboards, nannies and workers were seen"
    assert all(ip_address(address).is_loopback for address, port in addresses), addresses


def test_strangers_are_refused(mixed, authority, tissue_store, random_model, tmp_path):
    settings = {"model": random_model, "output": tmp_path / "out.zarr", **CUT}
    for folder in (authority[1], None):
        with pytest.raises(InputError, match=r"no Dask scheduler answers|give --tls DIR"):
            bigcp3d.segment(tissue_store, scheduler=mixed, tls=folder, **settings)
    with pytest.raises(OSError, match=STRANGER):
        Client(mixed.replace("tls://", "tcp://"), timeout="2s", set_as_default=False)


def test_a_local_cluster_speaks_tls_where_it_is_asked_to(authority):
    with quick_workers(), connect(Machines(workers=1, tls=authority[0])) as client:
        assert client.scheduler.address.startswith("tls://127.0.0.1:")
        assert next(iter(client.run(lambda: 7))).startswith("tls://127.0.0.1:")
        with pytest.raises(OSError, match=STRANGER):
            Client(client.scheduler.address, timeout="2s", set_as_default=False, security=load_security(authority[1]))


def test_wrong_tls_files_are_refused(authority, tmp_path):
    with pytest.raises(InputError, match=r"ca\.pem, cert\.pem, key\.pem in one folder; missing: .*ca\.pem"):
        load_security(tmp_path)
    ours, theirs = authority
    for name, folder in (("ca.pem", ours), ("cert.pem", ours), ("key.pem", theirs)):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(InputError, match=r"TLS files in .* cannot be used: .*MISMATCH"):
        load_security(tmp_path)


def test_addresses_and_tls_that_do_not_fit_are_refused(authority):
    for address, tls, words in (
        ("tcp://127.0.0.1:1", authority[0], "its address is tls://host:port"),
        ("tls://127.0.0.1:1", None, "give --tls DIR"),
    ):
        with pytest.raises(InputError, match=words), connect(Machines(scheduler=address, tls=tls)):
            pass


def test_a_cluster_without_a_worker_is_told_each_minute_and_waited_for(caplog):
    waits = iter([TimeoutError, TimeoutError, None])

    def wait(count, timeout):
        if (error := next(waits)) is not None:
            raise error

    _wait_for_one(SimpleNamespace(wait_for_workers=wait), "slurm")
    assert [record.args for record in caplog.records] == [("slurm", 1), ("slurm", 2)]
