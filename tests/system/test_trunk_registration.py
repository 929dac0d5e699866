"""A server that registers with another, and takes its registration back when it stops."""

from __future__ import annotations

from pathlib import Path

from tapeline.testing.process import until
from tapeline.testing.server import Server

ALICE = {"name": "alice", "password": "wonderland"}


def test_a_trunk_is_registered_with_and_left(tmp_path: Path) -> None:
    with Server(tmp_path / "carrier", tables={"users": [ALICE]}) as carrier:
        target = f"localhost:{carrier.sip[1]}"
        trunk = {"name": "carrier", "target": target, "username": "alice", "password": "wonderland", "registration": True}
        wrong = trunk | {"name": "other", "password": "wrong"}
        with Server(tmp_path / "branch", tables={"trunks": [trunk, wrong]}) as branch:
            until(lambda: "phone registered" in carrier.child.output(), "the registration")
            until(lambda: "not registered with a trunk" in branch.child.output(), "the refusal of the wrong password")
            assert "status=403" in branch.child.output() and "trunk=other" in branch.child.output()
            assert branch.stop() == 0
        until(lambda: "phone gone" in carrier.child.output(), "the end of the registration")
        assert "reason=removed" in carrier.child.output()
