"""The script that each queue would get for the examples in ``deploy``; SLURM's is run for real in test_slurm.py."""

from __future__ import annotations

import re

import dask_jobqueue
import pytest

from bigcp3d.errors import InputError
from bigcp3d.schedule.clusters.config import QUEUES, read_config
from bigcp3d.schedule.clusters.jobs import _check_interface, gpu_options, job_options, walltime_seconds
from bigcp3d.schedule.clusters.this_machine import WORKER_ENVIRONMENT
from tests.schedule.clusters.conftest import ROOT

HEADS = {
    "slurm": ["-J bigcp3d", "-p compute", "-A my-project", "--cpus-per-task=8", "--mem=64G", "-t 08:00:00"],
    "lsf": ["-J bigcp3d", "-q normal", '-P "my-project"', "-n 8", "-W 08:00"],
    "pbs": ["-N bigcp3d", "-q workq", "-A my-project", "select=1:ncpus=8:mem=64GB", "walltime=08:00:00"],
}
GPU_HEADS = {
    "slurm": ["-J bigcp3d-gpu", "-p gpu", "--cpus-per-task=2", "--mem=32G", "--gres=gpu:1"],
    "lsf": ["-J bigcp3d-gpu", "-q gpu", "-n 2", "-gpu num=1"],
}


def script(kind: str, options: dict) -> str:
    job = {"slurm": "SLURM", "lsf": "LSF", "pbs": "PBS"}[kind]
    cls = getattr(dask_jobqueue, f"{job}Cluster").job_cls
    words = {name: value for name, value in options.items() if name != "interface"}
    return cls(scheduler="tcp://10.0.0.1:8786", name="n", **words).job_script()


@pytest.mark.parametrize("kind", QUEUES)
def test_a_job_asks_for_the_sum_of_its_workers_and_each_worker_for_its_own(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = script(kind, job_options(kind, read_config(kind, ROOT / "deploy" / f"{kind}.yaml")))
    head, tail = text.split("export", 1)
    assert [line for line in HEADS[kind] if line not in head] == [], head
    for name, value in WORKER_ENVIRONMENT.items():
        assert f"export {name}={value}" in text
    assert text.index("module load") < text.index("distributed.cli.dask_worker")
    assert re.search(r"--nthreads 1 --memory-limit 8\.00GiB --nworkers 8 --nanny", tail)
    assert "--dashboard-address 127.0.0.1:0 --lifetime 28680s" in tail
    assert "--resources" not in tail


@pytest.mark.parametrize("kind", GPU_HEADS)
def test_a_job_with_a_gpu_has_one_worker_that_offers_it(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = read_config(kind, ROOT / "deploy" / f"{kind}.yaml")
    text = script(kind, {**job_options(kind, config), **gpu_options(kind, config, config.gpu)})
    assert [line for line in GPU_HEADS[kind] if line not in text] == [], text
    assert re.search(r"--nthreads 2 --memory-limit 32\.00GiB --nanny", text)
    assert text.rstrip().endswith("--resources GPU=2")


@pytest.mark.parametrize(
    ("kind", "walltime", "seconds"),
    [
        ("slurm", "01:02:03", 3723),
        ("slurm", "2-00:00:10", 172810),
        ("pbs", "08:00:00", 28800),
        ("lsf", "08:30", 30600),
        ("slurm", "08:30", None),  # minutes and seconds there
        ("slurm", "90", None),
    ],
)
def test_a_time_limit_is_read_as_its_queue_reads_it(kind, walltime, seconds):
    assert walltime_seconds(kind, walltime) == seconds


def test_an_interface_that_is_not_there_is_refused_with_those_that_are():
    _check_interface("lo")
    with pytest.raises(InputError, match=r"has no interface 'nope0', only .*lo"):
        _check_interface("nope0")


def test_what_a_dockerfile_copies_is_there():
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    sources = [word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for word in line.split()]
    assert len(sources) == 5
    assert all((ROOT / source).exists() for source in sources)
    kept = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text()
    assert all(f"!{source}" in kept for source in sources)
