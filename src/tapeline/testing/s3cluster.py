"""OpenStack Swift with its S3 face, all of it in one process that keeps its objects in a folder. A program, which `s3server` starts:

    python -P s3cluster.py FOLDER PORT USER:GROUP KEY GUEST:GROUP KEY

Swift is four servers: one that is spoken to, and one each for accounts, containers and objects, found through files called rings. Here each
ring has one device. The first user may do everything in its account; the guest may log in there, and nothing else.
"""

from __future__ import annotations

import eventlet

eventlet.monkey_patch()  # before anything else is imported: all that waits in here waits in green threads

import sys
from pathlib import Path
from typing import Any

import eventlet.wsgi
from swift.common import storage_policy, utils
from swift.common.ring import RingBuilder
from swift.common.wsgi import SwiftHttpProtocol, loadapp

INNER = ("account", "container", "object")
HOST = "127.0.0.1"

_COMMON = """\
[swift-hash]
swift_hash_path_prefix = tapeline
swift_hash_path_suffix = test

[storage-policy:0]
name = only
default = yes
"""

_INNER = """\
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
fallocate_reserve = 0

[pipeline:main]
pipeline = {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
"""

_FILTERS = ("catch_errors", "gatekeeper", "listing_formats", "bulk", "s3api", "tempauth", "copy", "slo", "dlo")

_OUTER = """\
[DEFAULT]
swift_dir = {folder}

[pipeline:main]
pipeline = {pipeline} proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""


def _ring(folder: Path, kind: str, port: int) -> None:
    builder = RingBuilder(1, 1, 0)  # two partitions, one replica
    device = {"id": 0, "region": 1, "zone": 1, "ip": HOST, "port": port, "device": "disk", "weight": 1.0, "meta": ""}
    builder.add_dev(device)
    builder.rebalance(seed=1)
    builder.get_ring().save(str(folder / f"{kind}.ring.gz"))


def _outer(folder: Path, user: str, key: str, guest: str, guest_key: str) -> str:
    text = _OUTER.format(folder=folder, pipeline=" ".join(_FILTERS))
    for name in _FILTERS:
        text += f"\n[filter:{name}]\nuse = egg:swift#{name}\n"
        if name == "s3api":
            text += "location = us-east-1\n"
        if name == "tempauth":
            text += f"user_{user.replace(':', '_')} = {key} .admin\nuser_{guest.replace(':', '_')} = {guest_key}\n"
    return text


def _serve(app: Any, listening: Any) -> None:
    eventlet.wsgi.server(listening, app, utils.NullLogger(), protocol=SwiftHttpProtocol)


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    (folder / "devices" / "disk").mkdir(parents=True, exist_ok=True)
    common = folder / "swift.conf"
    common.write_text(_COMMON)
    utils.SWIFT_CONF_FILE = str(common)
    utils.validate_hash_conf()
    storage_policy.reload_storage_policies()
    for kind in INNER:
        inside = eventlet.listen((HOST, 0))
        _ring(folder, kind, inside.getsockname()[1])
        config = folder / f"{kind}.conf"
        config.write_text(_INNER.format(folder=folder, kind=kind))
        eventlet.spawn(_serve, loadapp(str(config), global_conf={"log_name": kind}), inside)
    config = folder / "proxy.conf"
    config.write_text(_outer(folder, *sys.argv[3:7]))
    _serve(loadapp(str(config), global_conf={"log_name": "proxy"}), eventlet.listen((HOST, port)))


if __name__ == "__main__":
    main()
