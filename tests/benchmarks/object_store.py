"""obstore beside s3fs: the same blocks of labels and image, through zarr, from and into one S3 server.

    python -m tests.benchmarks.object_store                  # moto's server, in memory, on loopback
    python -m tests.benchmarks.object_store --endpoint http://127.0.0.1:8080 --bucket NAME   # any other

Ratios count, not seconds: on loopback there is no latency, and moto's server takes more processor time than either
client. Credentials come from the environment.
"""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import zarr
from zarr.storage import FsspecStore

from bigcp3d.edge.stores.places import zarr_store
from tests.benchmarks.report import Row, show, spend, write_json
from tests.object_stores import ENVIRONMENT, forget_connections, make_bucket, moto, serving, slowed

SHAPE, SHARD, CHUNK = (128, 128, 256), (64, 128, 128), (32, 64, 64)
REPEATS = 3


def open_store(kind: str, address: str) -> Any:
    """What zarr opens."""
    if kind == "obstore":
        return zarr_store(address)
    options = {"client_kwargs": {"endpoint_url": os.environ["AWS_ENDPOINT_URL"]}}
    return FsspecStore.from_url(address, storage_options=options)


def measure(kind: str, address: str, values: np.ndarray, shards: bool) -> list[Row]:
    """Writing all, reading all, and reading one box inside chunks."""
    store = open_store(kind, address)
    array = zarr.create_array(
        store, shape=SHAPE, dtype=values.dtype, chunks=CHUNK, shards=SHARD if shards else None, fill_value=0
    )
    tasks = {
        "write": lambda: array.__setitem__(..., values),
        "read all": lambda: array[...],
        "read a box": lambda: array[20:60, 30:100, 90:160],
    }
    rows = []
    for name, task in tasks.items():
        result, spent = spend(task, REPEATS)
        if name == "read all":
            assert np.array_equal(result, values)
        rows.append({"store": kind, "layout": "shards" if shards else "chunks", "what": name, **spent})
    return rows


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", help="an S3 server that runs already")
    parser.add_argument("--bucket", default=f"bench-{uuid4().hex[:8]}")
    parser.add_argument("--delay-ms", type=float, default=0, help="latency of every answer, by a proxy on loopback")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    values = np.repeat(rng.integers(0, 3000, (SHAPE[0], SHAPE[1] // 8, SHAPE[2] // 8), np.uint32), 8, 1).repeat(8, 2)
    rows: list[Row] = []
    with ExitStack() as stack:
        if options.endpoint is None:
            os.environ.update(ENVIRONMENT)
        endpoint = options.endpoint or stack.enter_context(moto())
        make_bucket(endpoint, options.bucket)
        if options.delay_ms:
            endpoint = stack.enter_context(serving(slowed(endpoint, options.delay_ms / 1000)))
        os.environ["AWS_ENDPOINT_URL"] = endpoint
        forget_connections()
        for shards in (False, True):
            for kind in ("obstore", "s3fs"):
                rows += measure(kind, f"s3://{options.bucket}/{kind}{shards}.zarr", values, shards)
    for row in rows:
        twin = next(r for r in rows if r["store"] == "obstore" and all(r[k] == row[k] for k in ("layout", "what")))
        row["wall / obstore"] = row["wall_s"] / twin["wall_s"]
    print(show(f"{SHAPE} uint32, chunks {CHUNK}, shards {SHARD}", rows))
    write_json(options.json, {"object_store": rows})


if __name__ == "__main__":
    main()
