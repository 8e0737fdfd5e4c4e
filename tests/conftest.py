"""What all tests share: the real volumes beside the checkout, where there are any."""

import gc
import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.browser import chromium  # noqa: F401 - a fixture of all tests
from tests.object_stores import ENVIRONMENT, forget_connections, make_bucket, moto

if "PYTEST_XDIST_WORKER" in os.environ:  # beside other tests; threads that wait for each other take time from them
    os.environ.setdefault("OMP_NUM_THREADS", "1")

MOST_ANSWER_BYTES = 200 * 2**20
"""As much of the networks' answers is remembered in a process."""

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection() -> None:
    """What is imported and collected stays to the end, so looking for garbage among it takes time for nothing."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real volumes, ``../shared/data``; tests that need it are skipped where it is not there."""
    if not SHARED.is_dir():
        pytest.skip(f"no real volumes at {SHARED}")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def quick_files() -> Iterator[None]:
    """Files are not synced to the disk: no test loses power, and a run of eight blocks would wait 178 times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def any_dashboard_port() -> Iterator[None]:
    """Clusters of two tests at a time do not ask for the same port."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bigcp3d.schedule.clusters.local._dashboard_port", lambda: 0)
        yield


@pytest.fixture(scope="session")
def answers() -> dict[bytes, Any]:
    """What networks answered to patches."""
    return {}


@pytest.fixture(scope="module")
def each_patch_is_computed_once(answers: dict[bytes, Any]) -> Iterator[None]:
    """Runs in this process take the network's answer to a patch that an earlier test has shown it already."""
    from bigcp3d.pure.predict import run_network

    compute, lock = run_network.run_network, threading.Lock()

    def remember(network: Any, patches: Any) -> Any:
        weights = [each.detach() for each in network.parameters()]
        seen = hashlib.sha256(str(weights[0].dtype).encode())
        for each in (*weights, patches):
            seen.update(each.float().numpy().tobytes())
        key = seen.digest()
        with lock:  # a run computes patches in threads
            known = answers.get(key)
        if known is None:
            known = compute(network, patches)
            with lock:
                answers[key] = known
                while len(answers) > 1 and sum(answer.nbytes for answer in answers.values()) > MOST_ANSWER_BYTES:
                    del answers[next(iter(answers))]
        return known.clone()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_network, "run_network", remember)
        yield


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """Commands set up the package's log for their process; each test finds it as if there had been none.

    So it is restored before a test too: a fixture of a whole module may have run a command.
    """
    _restore_log()
    yield
    _restore_log()


def _restore_log() -> None:
    logger = logging.getLogger("bigcp3d")
    logger.setLevel(logging.NOTSET)
    logger.handlers[:], logger.propagate = [], True


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of an S3 server in memory."""
    with moto() as endpoint:
        yield endpoint


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A new bucket, ``s3://...``; endpoint and credentials are in the environment, and nowhere else."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": s3_server}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    forget_connections()
    bucket = f"bucket-{uuid4().hex}"
    make_bucket(s3_server, bucket)
    yield f"s3://{bucket}"
    forget_connections()
