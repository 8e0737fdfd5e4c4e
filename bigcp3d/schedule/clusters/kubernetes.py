"""Pods of a Kubernetes cluster, by the Dask operator: one manifest of a DaskCluster, one of a group with GPUs.

UNTESTED on a real cluster. What is sent is tested against the schemas of Kubernetes and, where dask-kubernetes is
installed, of the operator's resources. ``deploy/kubernetes/`` holds the same manifests for use with ``kubectl``.
"""

from __future__ import annotations

import secrets
from typing import Any

from bigcp3d.errors import InputError
from bigcp3d.schedule.clusters.config import KubernetesConfig
from bigcp3d.schedule.clusters.extras import require
from bigcp3d.schedule.clusters.machine import WORKER_ENVIRONMENT
from bigcp3d.schedule.clusters.size import Size

API = "kubernetes.dask.org/v1"
PORTS = {"tcp-comm": 8786, "http-dashboard": 8787}


def start_pods(config: KubernetesConfig, size: Size) -> Any:
    """Create the cluster; it goes when it is closed.

    Raises
    ------
    InputError
        Where dask-kubernetes is missing, or the cluster cannot be made.
    """
    require("dask_kubernetes", "kubernetes")
    from dask_kubernetes.operator import KubeCluster

    name = f"bigcp3d-{secrets.token_hex(4)}"
    try:
        cluster = KubeCluster(
            namespace=config.namespace,
            custom_cluster_spec=cluster_manifest(config, name, size.least),
            shutdown_on_close=True,
            quiet=True,
        )
        if config.gpu:
            group = gpu_group_manifest(config, name)["spec"]["worker"]
            cluster.add_worker_group("gpu", n_workers=config.gpu.workers, custom_spec=group)
    except Exception as error:  # of httpx, kr8s, the operator: whatever it is, the user reads its words
        raise InputError(f"no cluster could be made in Kubernetes: {' '.join(str(error).split())}") from error
    if size.adaptive:
        cluster.adapt(minimum=size.least, maximum=size.most)
    return cluster


def cluster_manifest(config: KubernetesConfig, name: str, workers: int) -> dict[str, Any]:
    """A DaskCluster: a scheduler that the cluster reaches by name, and ``workers`` pods without a GPU."""
    labels = {"dask.org/cluster-name": name, "dask.org/component": "scheduler"}
    service_ports = [{"name": n, "protocol": "TCP", "port": port, "targetPort": n} for n, port in PORTS.items()]
    return {
        "apiVersion": API,
        "kind": "DaskCluster",
        "metadata": _metadata(config, name),
        "spec": {
            "worker": {"replicas": workers, "spec": worker_pod(config, gpu=False)},
            "scheduler": {
                "spec": scheduler_pod(config),
                "service": {"type": "ClusterIP", "selector": labels, "ports": service_ports},
            },
        },
    }


def gpu_group_manifest(config: KubernetesConfig, cluster: str) -> dict[str, Any]:
    """A DaskWorkerGroup of that cluster: pods with a GPU each."""
    replicas = config.gpu.workers if config.gpu else 0
    return {
        "apiVersion": API,
        "kind": "DaskWorkerGroup",
        "metadata": _metadata(config, f"{cluster}-gpu"),
        "spec": {"cluster": cluster, "worker": {"replicas": replicas, "spec": worker_pod(config, gpu=True)}},
    }


def _metadata(config: KubernetesConfig, name: str) -> dict[str, Any]:
    return {"name": name, **({"namespace": config.namespace} if config.namespace else {})}


def scheduler_pod(config: KubernetesConfig) -> dict[str, Any]:
    """It holds no voxels, only the graph."""
    container = {
        "name": "scheduler",
        "image": config.image,
        "args": ["dask", "scheduler", "--host", "0.0.0.0"],
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in PORTS.items()],
        "readinessProbe": {"httpGet": {"port": "http-dashboard", "path": "/health"}, "periodSeconds": 10},
        "resources": _asked({"cpu": "1", "memory": "2Gi"}),
    }
    return {"containers": [container], **_placed(config)}


def worker_pod(config: KubernetesConfig, *, gpu: bool) -> dict[str, Any]:
    """One worker a pod, with the data where the file says; the pod may take a little more than the worker's limit."""
    part = config.gpu if gpu and config.gpu else config
    threads = config.gpu.threads if gpu and config.gpu else 1
    command = ["dask", "worker", "--name", "$(DASK_WORKER_NAME)", "--nthreads", str(threads)]
    command += ["--memory-limit", f"{int(part.memory)}B", "--dashboard-address", "127.0.0.1:0"]
    resources = {"cpu": str(max(config.cpus, threads)), "memory": str(int(1.05 * int(part.memory)))}
    if gpu and config.gpu:
        command += ["--resources", f"GPU={threads}"]
        resources[config.gpu.resource] = "1"
    container = {
        "name": "worker",
        "image": config.image,
        "args": command,
        "env": [{"name": name, "value": value} for name, value in WORKER_ENVIRONMENT.items()],
        "resources": _asked(resources),
        "volumeMounts": [{"name": f"data{i}", "mountPath": path} for i, path in enumerate(config.claims)],
    }
    volumes = [
        {"name": f"data{i}", "persistentVolumeClaim": {"claimName": claim}}
        for i, claim in enumerate(config.claims.values())
    ]
    return {"containers": [container], "volumes": volumes, **_placed(config)}


def _asked(resources: dict[str, str]) -> dict[str, Any]:
    """As much as is asked for, and no more."""
    return {"requests": resources, "limits": resources}


def _placed(config: KubernetesConfig) -> dict[str, Any]:
    """Where a pod may run, and as whom: as the owner of the data, never as root, and with no token of the cluster."""
    user = {"runAsNonRoot": True, "runAsUser": config.user, "runAsGroup": config.group, "fsGroup": config.group}
    placed: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "securityContext": {**user, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    if config.service_account:
        placed["serviceAccountName"] = config.service_account
    if config.node_selector:
        placed["nodeSelector"] = dict(config.node_selector)
    return placed
