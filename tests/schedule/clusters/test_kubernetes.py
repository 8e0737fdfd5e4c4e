"""The manifests in ``deploy/kubernetes`` start the scheduler, workers and run that deploy/README.md describes."""

from __future__ import annotations

import yaml

from bigcp3d.schedule.clusters.this_machine import WORKER_ENVIRONMENT
from tests.schedule.clusters.conftest import ROOT


def manifests() -> dict[str, dict]:
    """Every manifest, by kind."""
    texts = [path.read_text() for path in sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))]
    found = [document for text in texts for document in yaml.safe_load_all(text)]
    assert len({document["kind"] for document in found}) == len(found)
    return {document["kind"]: document for document in found}


def test_all_pods_use_one_image_and_one_claim_and_never_root():
    found = manifests()
    claim = found["PersistentVolumeClaim"]["metadata"]["name"]
    pods = [
        found["DaskCluster"]["spec"]["worker"]["spec"],
        found["DaskCluster"]["spec"]["scheduler"]["spec"],
        found["DaskWorkerGroup"]["spec"]["worker"]["spec"],
        found["Job"]["spec"]["template"]["spec"],
    ]
    assert len({container["image"] for pod in pods for container in pod["containers"]}) == 1
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        assert all(volume["persistentVolumeClaim"]["claimName"] == claim for volume in pod.get("volumes", []))


def test_workers_have_the_settings_of_our_own_clusters_and_a_gpu_is_offered_where_there_is_one():
    found = manifests()
    for kind, gpus in (("DaskCluster", "0"), ("DaskWorkerGroup", "1")):
        (worker,) = found[kind]["spec"]["worker"]["spec"]["containers"]
        args = " ".join(worker["args"])
        assert args.startswith("dask worker --name $(DASK_WORKER_NAME) --nthreads ")
        assert "--dashboard-address 127.0.0.1:0" in args
        assert {item["name"]: item["value"] for item in worker["env"]} == WORKER_ENVIRONMENT
        assert worker["resources"]["limits"].get("nvidia.com/gpu", "0") == gpus
        assert ("--resources GPU=" in args) == (gpus == "1")


def test_the_job_runs_bigcp3d_on_the_scheduler_of_that_cluster():
    found = manifests()
    cluster = found["DaskCluster"]
    (port,) = [p["port"] for p in cluster["spec"]["scheduler"]["service"]["ports"] if p["name"] == "tcp-comm"]
    (run,) = found["Job"]["spec"]["template"]["spec"]["containers"]
    assert run["args"][:2] == ["bigcp3d", "segment"]
    assert run["args"][-2:] == ["--scheduler", f"tcp://{cluster['metadata']['name']}-scheduler:{port}"]
    assert found["DaskWorkerGroup"]["spec"]["cluster"] == cluster["metadata"]["name"]
