"""The file of --cluster-config is strict, and whatever contradicts itself is refused before anything starts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import bigcp3d
from bigcp3d.errors import InputError
from bigcp3d.schedule.clusters import config as forms
from bigcp3d.schedule.clusters.config import QUEUES, read_config
from bigcp3d.schedule.clusters.requested_machines import Machines, Size, parse_size
from bigcp3d.work.plan.memory_and_disk import worker_bytes

CLONE = Path(__file__).parents[3]
DEPLOY = CLONE / "deploy"
SHOWN = [
    pytest.param(text, id=f"{page.name} {number}")
    for page in sorted((CLONE / "docs").rglob("*.md"))
    for number, text in enumerate(re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL))
]
SLURM = "memory: 4GiB\ninterface: lo\n"


@pytest.fixture
def written(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "cluster.yaml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SLURM + "quee: all\n", ["unknown key 'quee'", "queue", "walltime"]),
        (SLURM + "gpu:\n  memory: 8GiB\n  workers: 1\n  gpus: 2\n", ["unknown key 'gpu.gpus'", "directives"]),
        ("interface: lo\n", ["'memory' is missing"]),
        ("memory: 4GiB\n", ["'interface' is missing"]),
        ("memory: much\ninterface: lo\n", ["'memory' is 'much'"]),
        (SLURM + "workers_per_job: 0\n", ["'workers_per_job' is '0'"]),
        (SLURM + "queue: 'a; rm -rf b'\n", ["'queue'"]),
        (SLURM + "directives: ['--gres=gpu:1\n\n  rm -rf b']\n", ["'directives'"]),
        ("- memory\n", ["holds list"]),
        ("memory: [\n", ["is not valid YAML"]),
        ("memory: !!python/object/apply:os.system ['touch run']\n", ["is not valid YAML"]),
    ],
    ids=str,
)
def test_a_wrong_file_is_refused_with_what_is_known(written, text, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as raised:
        read_config("slurm", written(text))
    assert all(word in str(raised.value) for word in words), raised.value
    assert not Path("run").exists()


def test_numbers_are_what_stands_in_the_file(written):
    text = "memory: 8589934592\ninterface: lo\naccount: 0123\nwalltime: 12:00:00\nworkers_per_job: 2\nqueue:\n"
    found = read_config("slurm", written(text + "gpu:\n  workers: 1\n  memory: 1GiB\n  threads: 2\n"))
    assert (found.walltime, found.account, found.queue) == ("12:00:00", "0123", None)  # YAML 1.1 reads 43200 and 83
    assert (found.memory, found.workers_per_job, found.gpu.threads) == (8 * 2**30, 2, 2)
    with pytest.raises(InputError, match=r"'gpu.threads' is '3': Input should be less than or equal to 2"):
        read_config("slurm", written(SLURM + "gpu:\n  workers: 1\n  memory: 1GiB\n  threads: 3\n"))


@pytest.mark.parametrize("kind", forms.FORMS)
def test_each_kind_says_what_it_needs_and_has_an_example(kind):
    needed = r"--cluster-config FILE\.yaml; its shortest form: memory: 8GiB; (interface: ib0|hosts: \[node1, node2\])"
    with pytest.raises(InputError, match=needed):
        read_config(kind, None)
    assert read_config(kind, DEPLOY / f"{kind}.yaml").memory >= 2**30


@pytest.mark.parametrize("text", SHOWN)
def test_each_file_that_a_page_shows_can_be_used(written, text):
    assert read_config("slurm", written(text)).memory == 8 * 2**30


def test_pages_show_files():
    assert len(SHOWN) >= 2


@pytest.mark.parametrize(
    ("asked", "size"), [(3, Size(3, 3)), ("3", Size(3, 3)), ("1:8", Size(1, 8)), ("2:2", Size(2, 2))]
)
def test_workers_are_a_number_or_two(asked, size):
    assert parse_size(asked) == size
    assert size.adaptive == (asked == "1:8")


@pytest.mark.parametrize("asked", [0, -1, "0:4", "4:1", "1:2:3", "many", "", ":", 1.5])
def test_other_workers_are_refused(asked):
    with pytest.raises(InputError, match=r"workers is .*; use a positive number"):
        parse_size(asked)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cluster": "slrum"}, "use one of local, slurm, lsf, pbs, ssh;"),
        ({"cluster": "kubernetes"}, r"use one of .*; elsewhere, .* --scheduler tcp://HOST:8786"),
        ({"cluster": "slurm", "scheduler": "tcp://127.0.0.1:1"}, "--scheduler and --cluster were both given"),
        ({"cluster_config": "a.yaml"}, "without --cluster"),
        (
            {"cluster": "slurm", "cluster_config": "none.yaml", "workers": 1},
            "the file of --cluster-config, none.yaml, cannot be read",
        ),
        ({"cluster": "slurm", "cluster_config": DEPLOY / "slurm.yaml"}, "cluster slurm needs --workers"),
        ({"cluster": "slurm", "cluster_config": DEPLOY / "slurm.yaml", "workers": "1:4"}, "workers with GPUs"),
        (
            {"cluster": "ssh", "cluster_config": DEPLOY / "ssh.yaml", "workers": 2},
            "set by workers_per_host",
        ),
        (
            {"cluster": "pbs", "cluster_config": DEPLOY / "pbs.yaml", "workers": 2, "memory_limit": "4GiB"},
            "write memory",
        ),
    ],
    ids=str,
)
def test_what_contradicts_itself_is_refused(settings, words):
    with pytest.raises(InputError, match=words):
        Machines(**settings).check()


def test_the_plan_is_held_against_the_memory_of_the_file_before_anything_is_submitted(
    written, tissue_store, random_model
):
    settings = {"model": random_model, "diameter_um": "as-is", "cluster": "slurm", "workers": 2, "block": (34, 60, 51)}
    small = written("memory: 300MiB\ninterface: lo\n")
    with pytest.raises(InputError, match=r"a worker of 300 MiB .* too small.*memory in the file of --cluster-config"):
        bigcp3d.segment(tissue_store, cluster_config=small, **settings)
    plan = bigcp3d.plan_segmentation(tissue_store, cluster_config=written(SLURM), **settings)
    assert worker_bytes(plan) < 4 * 2**30


def test_a_gpu_worker_of_two_threads_counts_for_two(written):
    text = SLURM + "gpu:\n  workers: 1\n  memory: 6GiB\n  threads: {}\n"
    limits = [Machines(cluster="slurm", cluster_config=written(text.format(n)), workers=1).limit_bytes for n in (1, 2)]
    assert limits == [4 * 2**30, 3 * 2**30]


@pytest.mark.parametrize(
    ("module", "kind", "extra"), [("dask_jobqueue", q, "jobqueue") for q in QUEUES] + [("asyncssh", "ssh", "ssh")]
)
def test_a_missing_package_is_told_with_the_command_that_installs_it(monkeypatch, module, kind, extra):
    from bigcp3d.schedule.clusters import this_machine

    monkeypatch.setattr(this_machine.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf"pip install 'bigcp3d\[{extra}\]'"):
        this_machine.require(module, kind)


def test_a_missing_queue_is_told(monkeypatch):
    from bigcp3d.schedule.clusters import this_machine

    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="needs the command bsub"):
        this_machine.require_command("bsub", "lsf")
