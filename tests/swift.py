"""OpenStack Swift with its S3 interface, on loopback: a real object store, on disk, for tests that are run by hand.

It needs a virtual environment of its own, memcached, and a disk with extended attributes::

    python3 -m venv ~/swift && ~/swift/bin/pip install swift==2.38.3 && apt-get install memcached
    BIGCP3D_SWIFT=~/swift pytest -m slow tests/schedule/running/test_object_store_slow.py
"""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

KEY, SECRET = "test:tester", "testing"

BACKEND = """[DEFAULT]
devices = {folder}/devices
mount_check = false
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
log_address =
log_udp_host = 127.0.0.1
log_udp_port = 9
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""
PROXY = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
log_udp_host = 127.0.0.1
log_udp_port = 9
[pipeline:main]
pipeline = catch_errors cache listing_formats s3api tempauth bulk slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
CONF = """[swift-hash]
swift_hash_path_prefix = bigcp3d
swift_hash_path_suffix = bigcp3d
[storage-policy:0]
name = one
default = yes
"""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens to now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@contextmanager
def swift(folder: Path, venv: Path) -> Iterator[str]:
    """Proxy, account, container and object server and memcached; the address of the proxy."""
    proxy, memcached, *ports = free_ports(5)
    said = {"folder": folder, "user": getpass.getuser()}
    (folder / "devices" / "d1").mkdir(parents=True)
    (folder / "swift.conf").write_text(CONF)
    (folder / "proxy.conf").write_text(PROXY.format(port=proxy, memcached=memcached, **said))
    for name, port in zip(("account", "container", "object"), ports, strict=True):
        (folder / f"{name}.conf").write_text(BACKEND.format(name=name, port=port, **said))
        for step in (["create", "4", "1", "0"], ["add", f"r1z1-127.0.0.1:{port}/d1", "1"], ["rebalance"]):
            command = [venv / "bin" / "swift-ring-builder", f"{name}.builder", *step]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
    with ExitStack() as stack:
        cache = [shutil.which("memcached") or "memcached", "-l", "127.0.0.1", "-p", str(memcached), "-u", said["user"]]
        servers = [
            [venv / "bin" / f"swift-{name}-server", folder / f"{name}.conf"]
            for name in ("account", "container", "object", "proxy")
        ]
        log = stack.enter_context(open(folder / "servers.log", "wb"))
        for command in (cache, *servers):
            process = subprocess.Popen(command, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        for port in (*ports, proxy):
            wait_for(port, folder / "servers.log")
        yield f"http://127.0.0.1:{proxy}"


def wait_for(port: int, log: Path) -> None:
    """Return when somebody listens."""
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"nobody listens on port {port}: {log.read_text()[-2000:]}")
