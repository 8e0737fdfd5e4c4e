"""What would be sent to Kubernetes is valid, and the manifests in ``deploy/kubernetes`` are the same.

No cluster can be had here. Pods, services and policies are held against the schemas of Kubernetes
(kubernetes-validate); the operator's own resources against its CRDs, where dask-kubernetes is installed.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import kubernetes_validate
import pytest
import yaml

from bigcp3d.errors import InputError
from bigcp3d.schedule.clusters import kubernetes
from bigcp3d.schedule.clusters.config import read_config
from bigcp3d.schedule.clusters.size import Size
from tests.schedule.clusters.conftest import ROOT

DEPLOY = ROOT / "deploy"
VERSION = kubernetes_validate.latest_version()
CRDS = "operator/deployment/helm/dask-kubernetes-operator/crds"


@pytest.fixture
def config():
    return read_config("kubernetes", DEPLOY / "kubernetes.yaml")


def documents() -> dict[str, dict]:
    """Every manifest in deploy/kubernetes, by kind and name."""
    found = {}
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            found[f"{document['kind']} {document['metadata']['name']}"] = document
    return found


def core_parts(document: dict) -> list[dict]:
    """What of a manifest is of Kubernetes itself: the pods and the service inside the operator's kinds."""
    if not document["apiVersion"].startswith("kubernetes.dask.org"):
        return [document]
    spec, named = document["spec"], {"metadata": {"name": "x"}}
    pods = [spec[part]["spec"] for part in ("worker", "scheduler") if part in spec]
    services = [spec["scheduler"]["service"]] if "scheduler" in spec else []
    return [{"apiVersion": "v1", "kind": "Pod", **named, "spec": pod} for pod in pods] + [
        {"apiVersion": "v1", "kind": "Service", **named, "spec": service} for service in services
    ]


@pytest.mark.parametrize("name", documents())
def test_manifests_are_valid_kubernetes(name):
    parts = core_parts(documents()[name])
    assert parts
    for part in parts:
        kubernetes_validate.validate(part, VERSION, strict=True)


def test_a_manifest_with_a_mistake_would_be_seen(config):
    """The control of the test above."""
    broken = kubernetes.cluster_manifest(config, "x", 1)
    broken["spec"]["worker"]["spec"]["containers"][0]["argz"] = []
    worker = core_parts(broken)[0]
    with pytest.raises(kubernetes_validate.ValidationError, match="argz"):
        kubernetes_validate.validate(worker, VERSION, strict=True)


@pytest.mark.parametrize("name", [name for name in documents() if name.startswith("Dask")])
def test_manifests_are_what_the_operator_knows(name):
    spec = importlib.util.find_spec("dask_kubernetes")
    if spec is None:
        pytest.skip("dask-kubernetes is not installed; pip install 'bigcp3d[kubernetes]'")
    jsonschema = pytest.importorskip("jsonschema")
    document = documents()[name]
    folder = Path(spec.submodule_search_locations[0]) / CRDS
    crd = yaml.safe_load((folder / f"{document['kind'].lower()}.yaml").read_text())
    (version,) = [v for v in crd["spec"]["versions"] if v["name"] == "v1"]
    schema = version["schema"]["openAPIV3Schema"]
    jsonschema.validate(document, schema)
    del document["spec"]["worker"]["spec"]["containers"]
    with pytest.raises(jsonschema.ValidationError):  # the control
        jsonschema.validate(document, schema)


def test_the_manifests_in_deploy_are_those_that_are_sent(config):
    found = documents()
    assert found["DaskCluster bigcp3d"] == kubernetes.cluster_manifest(config, "bigcp3d", 4)
    assert found["DaskWorkerGroup bigcp3d-gpu"] == kubernetes.gpu_group_manifest(config, "bigcp3d")


def test_the_cluster_is_made_of_them_and_resized(config, monkeypatch):
    calls = []

    class KubeCluster:
        def __init__(self, **words):
            calls.append(words)

        def add_worker_group(self, *words, **more):
            calls.append((words, more))

        def adapt(self, **limits):
            calls.append(limits)

    module = ModuleType("dask_kubernetes.operator")
    module.KubeCluster = KubeCluster
    monkeypatch.setattr(kubernetes, "require", lambda *words: None)
    monkeypatch.setitem(sys.modules, "dask_kubernetes", ModuleType("dask_kubernetes"))
    monkeypatch.setitem(sys.modules, "dask_kubernetes.operator", module)
    kubernetes.start_pods(config, Size(2, 2))
    made, group = calls
    name = made["custom_cluster_spec"]["metadata"]["name"]
    assert made["custom_cluster_spec"] == kubernetes.cluster_manifest(config, name, 2)
    assert group[0] == ("gpu",)
    assert group[1]["custom_spec"] == kubernetes.gpu_group_manifest(config, name)["spec"]["worker"]
    assert "GPU=2" in group[1]["custom_spec"]["spec"]["containers"][0]["args"]
    kubernetes.start_pods(config.model_copy(update={"gpu": None}), Size(1, 8))
    assert calls[3] == {"minimum": 1, "maximum": 8}


def test_what_kubernetes_answers_is_told(config, monkeypatch):
    module = ModuleType("dask_kubernetes.operator")
    module.KubeCluster = lambda **words: 1 / 0
    monkeypatch.setattr(kubernetes, "require", lambda *words: None)
    monkeypatch.setitem(sys.modules, "dask_kubernetes", ModuleType("dask_kubernetes"))
    monkeypatch.setitem(sys.modules, "dask_kubernetes.operator", module)
    with pytest.raises(InputError, match="no cluster could be made in Kubernetes: division by zero"):
        kubernetes.start_pods(config, Size(1, 1))
