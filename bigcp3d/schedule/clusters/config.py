"""Reads and checks the YAML file of ``--cluster-config``, before anything starts.

Only plain values are read (``yaml.SafeLoader``), so a file cannot run code. Memory and threads are those of one worker.
A job asks its queue for the sum over its workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

import yaml
from pydantic import BaseModel, ByteSize, ConfigDict, Field, PositiveInt, ValidationError

from bigcp3d.errors import InputError

KINDS = ("local", "slurm", "lsf", "pbs", "ssh")
QUEUES = ("slurm", "lsf", "pbs")

Line = Annotated[str, Field(pattern=r"^[^\n\r]*$")]
Lines = tuple[Line, ...]
Word = Annotated[str, Field(pattern=r"^[^\s;&|<>`$'\"\\]+$")]
"""Part of a command line on another machine, so characters that mean something to a shell are refused."""


class _AsWritten(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """Reads numbers as the text that stands in the file. YAML would make 43200 of ``walltime: 12:00:00``."""

    yaml_implicit_resolvers: ClassVar = {
        sign: [(tag, form) for tag, form in forms if tag.endswith((":null", ":merge"))]
        for sign, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class Form(BaseModel):
    """The keys that a file or a section of it may have."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Workers(Form):
    """Workers of one kind. ``memory`` is that of one worker, which runs one task at a time."""

    memory: ByteSize


class GpuWorkers(Workers):
    """Workers with one GPU each. With two threads, one predicts a block while the other writes one."""

    threads: Annotated[int, Field(ge=1, le=2)] = 1


class QueueGpu(GpuWorkers):
    """Jobs of one worker with one GPU, in addition to the jobs without a GPU."""

    workers: PositiveInt
    queue: Word | None = None
    walltime: Word | None = None
    directives: Lines = ()
    prologue: Lines | None = None


class QueueConfig(Workers):
    """A queue of jobs: SLURM, LSF, PBS."""

    interface: Word
    scheduler_interface: Word | None = None
    workers_per_job: PositiveInt = 1
    queue: Word | None = None
    account: Word | None = None
    walltime: Word | None = None
    directives: Lines = ()
    skip_directives: Lines = ()
    prologue: Lines = ()
    python: Word | None = None
    local_directory: Word | None = None
    log_directory: Word = "bigcp3d-jobs"
    gpu: QueueGpu | None = None


class SshGpu(GpuWorkers):
    """Machines with GPUs."""

    hosts: Annotated[tuple[Word, ...], Field(min_length=1)]
    gpus_per_host: PositiveInt = 1


class SshConfig(Workers):
    """Machines that are reached over SSH."""

    hosts: Annotated[tuple[Word, ...], Field(min_length=1)]
    workers_per_host: PositiveInt = 1
    scheduler: Word | None = None
    user: Word | None = None
    port: PositiveInt = 22
    key: Path | None = None
    known_hosts: Path | None = None
    python: Word | None = None
    local_directory: Word | None = None
    gpu: SshGpu | None = None


ClusterConfig = QueueConfig | SshConfig
GPU_SECTIONS: Mapping[type[Form], type[Form]] = {QueueConfig: QueueGpu, SshConfig: SshGpu}
SHORTEST = {"memory": "8GiB", "interface": "ib0", "hosts": "[node1, node2]"}
"""Values of the required keys, as an example."""
FORMS: Mapping[str, type[ClusterConfig]] = {**dict.fromkeys(QUEUES, QueueConfig), "ssh": SshConfig}


def read_config(kind: str, path: str | Path | None) -> ClusterConfig:
    """Read the file of a kind of cluster; raises an `InputError` if it is missing or wrong."""
    form = FORMS[kind]
    if path is None:
        needed = [f"{key}: {SHORTEST[key]}" for key, field in form.model_fields.items() if field.is_required()]
        raise InputError(
            f"cluster {kind} needs --cluster-config FILE.yaml; its shortest form: {'; '.join(needed)} (each on a line)"
        )
    try:
        content = _AsWritten(Path(path).read_bytes()).get_single_data()
    except OSError as error:
        raise InputError(
            f"the file of --cluster-config, {path}, cannot be read: {error.strerror or error}; check its path"
        ) from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}; correct it") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds {type(content).__name__}; a cluster's file has one `key: value` a line")
    try:
        return form.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}, for cluster {kind}: {'; '.join(_complaints(form, error))}") from error


def _complaints(form: type[Form], error: ValidationError) -> list[str]:
    """Each error in words: the key and what is wrong with it. For an unknown key also the known ones."""
    said = []
    for item in error.errors():
        where = [part for part in item["loc"] if isinstance(part, str)]
        key = ".".join(where)
        if item["type"] == "extra_forbidden":
            known = (form if len(where) == 1 else GPU_SECTIONS[form]).model_fields
            said.append(f"unknown key {key!r}; known are {', '.join(sorted(known))}")
        elif item["type"] == "missing":
            said.append(f"{key!r} is missing")
        else:
            said.append(f"{key!r} is {item['input']!r}: {item['msg']}")
    return said
